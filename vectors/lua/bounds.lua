#!lua flags=no-writes
-- First and last entry of the log as {seq, log id, entry id}, without their payloads.
-- KEYS: log
local bounds = {}
for _, call in ipairs({{'XRANGE', '-', '+'}, {'XREVRANGE', '+', '-'}}) do
  local entry = redis.call(call[1], KEYS[1], call[2], call[3], 'COUNT', 1)[1]
  if entry then
    bounds[#bounds + 1] = {tonumber(entry[2][2]), entry[2][4], entry[1]}
  end
end
return bounds
