#!lua
-- Publish and acknowledge a batch of entries of one stream, each exactly once.
--
-- KEYS[1] source stream, KEYS[2] decisions, KEYS[3] dead, then the target streams, then the done keys.
-- ARGV[1] group, [2] consumer, [3] idempotency window in ms, [4] number of target streams,
-- then seven per entry: id, kind, target (index), done (index, 0 = none), task id, payload, audit.
--   kind "p": XADD the payload to the target, its audit copy ("" = the same) to decisions
--   kind "d": XADD the payload (MessagePack array of field, value, ...) to dead
--   kind "a": only acknowledge
-- Returns one code per entry: 1 settled, 2 duplicate, 3 fenced, 4 blocked (target is no stream).
--
-- A script does not roll back, and XADD can be refused for lack of memory where XACK cannot: so
-- types are checked before the first write and the acknowledgement comes last. The header makes
-- the server refuse the whole script up front when it is out of memory.
local SETTLED, DUPLICATE, FENCED, BLOCKED = 1, 2, 3, 4
local FIRST, WIDTH = 5, 7
local call = redis.call
local group, consumer, window, targets = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local source, decisions, dead = KEYS[1], KEYS[2], KEYS[3]
local count = (#ARGV - FIRST + 1) / WIDTH

local function is_stream(key)
  local kind = call('TYPE', key).ok
  return kind == 'stream' or kind == 'none'
end
for i = 2, 3 do
  if not is_stream(KEYS[i]) then
    return redis.error_reply('WRONGTYPE ' .. KEYS[i] .. ' is not a stream')
  end
end
local writable = {}
for i = 1, targets do writable[i] = is_stream(KEYS[3 + i]) end

-- One ranged look-up finds who owns a batch; only what it misses is asked for one by one.
local mine = {}
local range = call('XPENDING', source, group, ARGV[FIRST], ARGV[FIRST + WIDTH * (count - 1)],
                   count + 16, consumer)
for i = 1, #range do mine[range[i][1]] = true end

local first_mark = 3 + targets
local done = #KEYS > first_mark and call('MGET', unpack(KEYS, first_mark + 1)) or {}
local acknowledged, seen = {}, {}

local function settle(at)
  local id, kind, mark = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 3])
  if seen[id] then return DUPLICATE end
  seen[id] = true
  if not mine[id] then
    local pending = call('XPENDING', source, group, id, id, 1)[1]
    if not pending then return DUPLICATE end
    if pending[2] ~= consumer then return FENCED end
  end
  local key = mark > 0 and KEYS[first_mark + mark]
  if key and (done[mark] or done[key]) then
    acknowledged[#acknowledged + 1] = id
    return DUPLICATE
  end
  local task_id, payload, audit = ARGV[at + 4], ARGV[at + 5], ARGV[at + 6]
  if kind == 'p' then
    local target = tonumber(ARGV[at + 2])
    if not writable[target] then return BLOCKED end
    call('XADD', KEYS[3 + target], '*', 'task_id', task_id, 'decision', payload)
    call('XADD', decisions, '*', 'task_id', task_id, 'decision', audit == '' and payload or audit)
  elseif kind == 'd' then
    call('XADD', dead, '*', unpack(cmsgpack.unpack(payload)))
  end
  if key then
    call('SET', key, id, 'PX', window)
    done[key] = id
  end
  acknowledged[#acknowledged + 1] = id
  return SETTLED
end

local codes = {}
for i = 1, count do codes[i] = settle(FIRST + WIDTH * (i - 1)) end
if #acknowledged > 0 then call('XACK', source, group, unpack(acknowledged)) end
return codes
