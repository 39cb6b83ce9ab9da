#!lua flags=allow-oom
-- Give entries back so that anyone can claim them at once. KEYS[1] stream; ARGV[1] group,
-- [2] consumer, [3] idle time to pretend in ms, then ids. Only entries that are still ours.
for i = 4, #ARGV do
  if redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[2])[1] then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'IDLE', ARGV[3], 'JUSTID')
  end
end
return redis.status_reply('OK')
