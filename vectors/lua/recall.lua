#!lua flags=no-writes
-- Looks up vectors of texts.
-- KEYS: younger hash, older hash    ARGV: fields
-- Returns what each hash holds of them.
return {redis.call('HMGET', KEYS[1], unpack(ARGV)), redis.call('HMGET', KEYS[2], unpack(ARGV))}
