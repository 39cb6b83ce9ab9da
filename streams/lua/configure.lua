#!lua
-- Change the live configuration if it still has the version the caller saw, and log the change.
-- KEYS[1] configuration hash, [2] log stream.
-- ARGV[1] expected version ("" = any), [2] who, [3] why, [4] when, then field and value of each change.
-- Returns {1, all fields of the hash} or {0, the version it has}.
local FIRST = 5
local kind = redis.call('TYPE', KEYS[2]).ok
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
redis.call('XADD', KEYS[2], '*', 'version', version, 'who', ARGV[2], 'why', ARGV[3],
           'at', ARGV[4], 'from', cjson.encode(before), 'to', cjson.encode(after))
return {1, redis.call('HGETALL', KEYS[1])}
