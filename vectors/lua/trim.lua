#!lua
-- Drops entries that a snapshot holds. Entries are numbered without gaps, so how many must stay is
-- a subtraction. The last entry always stays: the numbering goes on from it.
-- KEYS: log    ARGV: log id and seq of the snapshot, entries to keep in any case
-- Returns the number of entries dropped.
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if not last or last[2][4] ~= ARGV[1] then
  return 0
end
local unread = tonumber(last[2][2]) - tonumber(ARGV[2])
return redis.call('XTRIM', KEYS[1], 'MAXLEN', math.max(unread, tonumber(ARGV[3]), 1))
