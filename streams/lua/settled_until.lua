-- Moment in ms, by this server's clock, up to which a group has settled everything in a stream.
-- KEYS: stream. ARGV: group. Nothing where there is no such group.
if redis.call('EXISTS', KEYS[1]) == 0 then
  return false
end
local last
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local of = {}
  for at = 1, #group, 2 do
    of[group[at]] = group[at + 1]
  end
  if of['name'] == ARGV[1] then
    last = of['last-delivered-id']
  end
end
if not last then
  return false
end
local now = redis.call('TIME')
local moment = now[1] * 1000 + math.floor(now[2] / 1000)
local unread = redis.call('XRANGE', KEYS[1], '(' .. last, '+', 'COUNT', 1)[1]
local pending = redis.call('XPENDING', KEYS[1], ARGV[1])[2]
for _, id in pairs({unread and unread[1] or nil, pending or nil}) do
  moment = math.min(moment, tonumber(string.match(id, '^%d+')))
end
return moment
