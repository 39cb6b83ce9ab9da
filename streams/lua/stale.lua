#!lua flags=allow-oom
-- Look through one page of the pending list for entries that may be claimed.
-- KEYS[1] stream; ARGV[1] group, [2] where to begin ("-" or "(" and an id), [3] entries to look at,
-- [4] most to return, [5] lease in ms, [6] longest wait of what was handed back, in ms.
-- Returns where to go on ("-" once the end is reached), then id and deliveries of each found.
--
-- A page has a bounded size, where XPENDING ... IDLE would look through a million entries at once.
-- What the consumer "retry" holds was handed back after an error: it waits a lease, then twice as
-- long after each delivery, and up to a quarter more by chance, so that tasks do not return in step.
local RETRY = 'retry'
local group, scan, most = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4])
local lease, longest = tonumber(ARGV[5]), tonumber(ARGV[6])

local function wait(id, owner, deliveries)
  if owner ~= RETRY then return lease end
  local chance = tonumber(string.sub(redis.sha1hex(id .. deliveries), 1, 4), 16) / 65535
  local grown = lease * 2 ^ math.min(deliveries - 1, 20)
  return math.max(lease, math.min(grown, longest)) * (1 + chance / 4)
end

local page = redis.call('XPENDING', KEYS[1], group, ARGV[2], '+', scan)
local found = {#page == scan and '(' .. page[#page][1] or '-'}
for _, row in ipairs(page) do
  local id, owner, idle, deliveries = row[1], row[2], row[3], row[4]
  if idle >= wait(id, owner, deliveries) then
    found[#found + 1] = id
    found[#found + 1] = deliveries
    if #found > 2 * most then
      found[1] = '(' .. id
      break
    end
  elseif idle == 0 then
    -- Either delivered this very millisecond, or in the future of a clock that was set back: then
    -- it would look fresh until the clock caught up. Saying "now" to its owner heals the latter.
    redis.call('XCLAIM', KEYS[1], group, owner, 0, id, 'JUSTID')
  end
end
return found
