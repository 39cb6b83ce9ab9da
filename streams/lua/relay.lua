#!lua flags=allow-oom
-- Enqueue one RQ job for a held decision and acknowledge it, at most once per task and window.
-- KEYS[1] master stream, [2] RQ queue (list), [3] RQ's set of queues, [4] job hash, [5] mark.
-- ARGV[1] group, [2] consumer, [3] id, [4] job id, [5] window in ms, then the job hash's fields.
-- Returns 1 enqueued, 2 duplicate (acknowledged), 3 no longer ours.
-- Same steps as RQ's own unique enqueue, plus ownership, the mark and the acknowledgement. The mark
-- outlives a job that finished and expired; the hash covers one that waits longer than the window.
if not redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1, ARGV[2])[1] then return 3 end
local kind = redis.call('TYPE', KEYS[2]).ok
if kind ~= 'list' and kind ~= 'none' then
  return redis.error_reply('WRONGTYPE ' .. KEYS[2] .. ' is not a list')
end
local waiting = { queued = true, started = true, deferred = true, scheduled = true }
local duplicate = redis.call('EXISTS', KEYS[5]) == 1
  or waiting[redis.call('HGET', KEYS[4], 'status') or '']
if not duplicate then
  redis.call('DEL', KEYS[4])
  redis.call('HSET', KEYS[4], unpack(ARGV, 6))
  redis.call('SADD', KEYS[3], KEYS[2])
  redis.call('RPUSH', KEYS[2], ARGV[4])
  redis.call('SET', KEYS[5], ARGV[3], 'PX', ARGV[5])
end
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
return duplicate and 2 or 1
