#!lua
-- Drops a log of another encoder, and with it what it says is current, so that a new one begins.
-- KEYS: log (stream), versions (hash)    ARGV: identity of the encoder
-- Returns 1 if there was one.
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if not last or last[2][6] == ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[1], KEYS[2])
return 1
