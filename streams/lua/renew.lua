#!lua flags=allow-oom
-- Renew the leases of entries that are still ours. KEYS[1] stream; ARGV[1] group, [2] consumer, then ids.
-- Claiming only what the pending list says is ours never takes an entry back from its new owner.
-- JUSTID leaves the delivery count alone. Returns the ids that are ours.
local ours = {}
for i = 3, #ARGV do
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[2])[1]
  if pending then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'JUSTID')
    ours[#ours + 1] = ARGV[i]
  end
end
return ours
