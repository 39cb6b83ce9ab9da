#!lua flags=allow-oom
-- Enter a group, begun at the stream's beginning where it is new.
-- KEYS[1] stream; ARGV[1] group, [2] consumer. Returns 1 if the group was not there.
-- Allowed without memory: a worker that cannot join cannot make room either.
local made = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
if made.err and not string.find(made.err, 'BUSYGROUP', 1, true) then return made end
redis.call('XGROUP', 'CREATECONSUMER', KEYS[1], ARGV[1], ARGV[2])
return made.err and 0 or 1
