#!lua flags=allow-oom
-- Trim a stream below the oldest entry that any group has not read or not acknowledged.
-- KEYS[1] stream; ARGV[1] id below which entries are old enough to go ("+" = no age limit).
-- A stream without a group is unread by definition and never trimmed. Returns how many went.
local function id_parts(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end
local function older(a, b)
  if a == '+' then return b end
  if b == '+' then return a end
  local ams, aseq = id_parts(a)
  local bms, bseq = id_parts(b)
  if ams < bms or (ams == bms and aseq < bseq) then return a end
  return b
end

if redis.call('TYPE', KEYS[1]).ok ~= 'stream' then return 0 end
local groups = redis.call('XINFO', 'GROUPS', KEYS[1])
if #groups == 0 then return 0 end
local keep = ARGV[1]
for _, flat in ipairs(groups) do
  local group = {}
  for i = 1, #flat, 2 do group[flat[i]] = flat[i + 1] end
  -- The last delivered entry itself stays, so that the server's lag stays exact.
  keep = older(keep, group['last-delivered-id'])
  if group['pending'] > 0 then
    keep = older(keep, redis.call('XPENDING', KEYS[1], group['name'])[2])
  end
end
return redis.call('XTRIM', KEYS[1], 'MINID', keep)
