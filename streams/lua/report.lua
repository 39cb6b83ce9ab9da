#!lua flags=allow-oom
-- Publish a master's outcome and acknowledge its decision, if the master still holds it.
-- KEYS[1] master stream, [2] outcomes, left out where it was published before (in a cluster it has
-- another slot). ARGV[1] group, [2] consumer, [3] id, then field, value, ...
-- Returns 1 if reported, 0 if the decision was settled or taken over meanwhile.
if not redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1, ARGV[2])[1] then return 0 end
-- The acknowledgement comes last: a script does not roll back. Allowed without memory: an outcome
-- is smaller than the decision that goes for it.
if KEYS[2] then redis.call('XADD', KEYS[2], '*', unpack(ARGV, 4)) end
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
return 1
