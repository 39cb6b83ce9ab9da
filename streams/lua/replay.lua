#!lua
-- Put a dead letter's original fields back on its source stream.
-- KEYS[1] dead, [2] source stream, optionally [3] the done key of its task.
-- ARGV[1] id of the dead letter, [2] id the entry had in its source, then field, value, ...
-- Returns 1 replayed, 2 no such dead letter, 3 the task was settled since by another entry.
-- A script does not roll back, so types are checked first and the dead letter goes last.
if redis.call('TYPE', KEYS[1]).ok ~= 'stream' or not redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1] then
  return 2
end
local kind = redis.call('TYPE', KEYS[2]).ok
if kind ~= 'stream' and kind ~= 'none' then
  return redis.error_reply('WRONGTYPE ' .. KEYS[2] .. ' is not a stream')
end
if KEYS[3] then
  local settled_by = redis.call('GET', KEYS[3])
  if settled_by and settled_by ~= ARGV[2] then return 3 end
end
redis.call('XADD', KEYS[2], '*', unpack(ARGV, 3))
if KEYS[3] then redis.call('DEL', KEYS[3]) end
redis.call('XDEL', KEYS[1], ARGV[1])
return 1
