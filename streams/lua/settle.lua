#!lua flags=allow-oom
-- Publish and acknowledge a batch of entries of one stream, each exactly once.
--
-- KEYS[1] source stream, KEYS[2] decisions, KEYS[3] dead, then the target streams, then the done keys
-- in the order in which entries use them.
-- ARGV[1] group, [2] consumer, [3] idempotency window in ms, [4] number of target streams, [5] first
-- and [6] last id of the batch, then per entry its id, an action, and what that takes:
--   t > 0: XADD task id and payload to target t, and the same to decisions; uses a done key
--   t < 0: the same to target -t, with a third value, the audit copy for decisions
--   "d":   XADD the payload (MessagePack array of field, value, ...) to dead
--   "D":   the same for a task that has an id; uses a done key
--   "a":   only acknowledge
--   "l":   hand back for another try
-- Returns one code per entry: 1 settled, 2 duplicate, 3 fenced, 4 blocked (target is no stream, and
-- the entry handed back), 5 left.
--
-- What is handed back is pending for the consumer "retry", which nobody is: lua/stale.lua lets it
-- wait for longer than what a dead worker held.
--
-- A script does not roll back, so types are checked before the first write and the acknowledgement
-- comes last. It is allowed without memory: what was read must be settled and what was taken
-- acknowledged, or nothing would ever be freed; how much is read is what pressure bounds.
local SETTLED, DUPLICATE, FENCED, BLOCKED, LEFT = 1, 2, 3, 4, 5
local RETRY = 'retry'
local call = redis.call
local group, consumer, window, targets = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local source, decisions, dead = KEYS[1], KEYS[2], KEYS[3]

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
local range = call('XPENDING', source, group, ARGV[5], ARGV[6], #ARGV, consumer)
for i = 1, #range do mine[range[i][1]] = true end

local first_mark = 3 + targets
local done = #KEYS > first_mark and call('MGET', unpack(KEYS, first_mark + 1)) or {}
local acknowledged, seen = {}, {}

-- Whether an entry may be settled now; if not, why.
local function refusal(id, mark)
  if seen[id] then return DUPLICATE end
  seen[id] = true
  if not mine[id] then
    local pending = call('XPENDING', source, group, id, id, 1)[1]
    if not pending then return DUPLICATE end
    if pending[2] ~= consumer then return FENCED end
  end
  if mark and (done[mark] or done[KEYS[first_mark + mark]]) then
    acknowledged[#acknowledged + 1] = id
    return DUPLICATE
  end
end

local function finish(id, mark)
  if mark then
    local key = KEYS[first_mark + mark]
    call('SET', key, id, 'PX', window)
    done[key] = id
  end
  acknowledged[#acknowledged + 1] = id
  return SETTLED
end

local function hand_back(id, code)
  call('XCLAIM', source, group, RETRY, 0, id, 'JUSTID')
  return code
end

local function publish(id, mark, target, task_id, payload, audit)
  local refused = refusal(id, mark)
  if refused then return refused end
  if not writable[target] then return hand_back(id, BLOCKED) end
  call('XADD', KEYS[3 + target], '*', 'task_id', task_id, 'decision', payload)
  call('XADD', decisions, '*', 'task_id', task_id, 'decision', audit)
  return finish(id, mark)
end

local function bury(id, mark, letter)
  local refused = refusal(id, mark)
  if refused then return refused end
  call('XADD', dead, '*', unpack(cmsgpack.unpack(letter)))
  -- The letter has it whole. Left here, a group begun anew would bury it a second time: what is
  -- malformed may have no task id to be known by.
  call('XDEL', source, id)
  return finish(id, mark)
end

local codes, at, marks = {}, 7, 0
while at <= #ARGV do
  local id, action = ARGV[at], ARGV[at + 1]
  local target = tonumber(action)
  if target or action == 'D' then marks = marks + 1 end
  local code
  if not target then
    if action == 'a' then
      code = refusal(id) or finish(id)
      at = at + 2
    elseif action == 'l' then
      code = refusal(id) or hand_back(id, LEFT)
      at = at + 2
    else
      code = bury(id, action == 'D' and marks, ARGV[at + 2])
      at = at + 3
    end
  elseif target > 0 then
    code = publish(id, marks, target, ARGV[at + 2], ARGV[at + 3], ARGV[at + 3])
    at = at + 4
  else
    code = publish(id, marks, -target, ARGV[at + 2], ARGV[at + 3], ARGV[at + 4])
    at = at + 5
  end
  codes[#codes + 1] = code
end
if #acknowledged > 0 then call('XACK', source, group, unpack(acknowledged)) end
return codes
