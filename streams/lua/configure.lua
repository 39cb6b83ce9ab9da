#!lua
-- Change the live configuration if it still has the version the caller saw, and log the change.
-- KEYS[1] configuration hash, [2] log stream, left out in a cluster, where it has another slot.
-- ARGV[1] expected version ("" = any), [2] who, [3] why, [4] when, then field and value of each change.
-- Returns {1, all fields of the hash, fields of the log's entry} or {0, the version it has}.
local FIRST = 5
local kind = KEYS[2] and redis.call('TYPE', KEYS[2]).ok or 'none'
if kind ~= 'stream' and kind ~= 'none' then
  return redis.error_reply('WRONGTYPE ' .. KEYS[2] .. ' is not a stream')
end
local version = tonumber(redis.call('HGET', KEYS[1], 'version') or '0')
if not version then return redis.error_reply('ERR ' .. KEYS[1] .. ' has no usable version') end
if ARGV[1] ~= '' and version ~= tonumber(ARGV[1]) then return {0, version} end
local before, after = {}, {}
for i = FIRST, #ARGV, 2 do
  before[ARGV[i]] = redis.call('HGET', KEYS[1], ARGV[i]) or cjson.null
  after[ARGV[i]] = ARGV[i + 1]
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
end
version = string.format('%d', version + 1)
redis.call('HSET', KEYS[1], 'version', version)
local entry = {'version', version, 'who', ARGV[2], 'why', ARGV[3], 'at', ARGV[4],
               'from', cjson.encode(before), 'to', cjson.encode(after)}
if KEYS[2] then redis.call('XADD', KEYS[2], '*', unpack(entry)) end
return {1, redis.call('HGETALL', KEYS[1]), entry}
