#!lua
-- Keeps vectors of texts. When the younger hash is full it becomes the older one, which goes.
-- KEYS: younger hash, older hash    ARGV: most in a hash, then field and vector of each text
for at = 2, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1])
  if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[1]) then
    redis.call('UNLINK', KEYS[2])
    redis.call('RENAME', KEYS[1], KEYS[2])
  end
end
