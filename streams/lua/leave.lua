#!lua flags=allow-oom
-- Delete a consumer only if it holds nothing: XGROUP DELCONSUMER would drop what it holds.
-- KEYS[1] stream; ARGV[1] group, [2] consumer. Returns 1 if deleted.
if redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2])[1] then return 0 end
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
return 1
