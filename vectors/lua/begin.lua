#!lua
-- Drops a log of another encoder or version, or one whose beginning was trimmed if that is asked for,
-- and with it what it says is current, so that a new one begins.
-- KEYS: log (stream), versions (hash)    ARGV: identity of the encoder, 1 to keep whole logs only
-- Returns 1 if there was one.
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
if not first then
  return 0
end
local ours = first[2][6] == ARGV[1] and first[2][7] == 'before'
if ours and (ARGV[2] == '0' or first[2][2] == '1') then
  return 0
end
redis.call('DEL', KEYS[1], KEYS[2])
return 1
