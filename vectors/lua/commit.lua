#!lua
-- Commits new states of files: compare-and-set on each file's version, then one log entry.
-- KEYS: log (stream), versions (hash path -> "version:content_hash")
-- ARGV: identity for a new log, identity of the encoder, then five per file: path, expected version,
-- version, hash, payload
-- Returns the log's encoder (if it is another one, nothing was done) and id, then per file
-- {seq, entry id, id of the entry before}, or false where the version had moved.
for position, wanted in ipairs({'stream', 'hash'}) do
  local kind = redis.call('TYPE', KEYS[position]).ok
  if kind ~= 'none' and kind ~= wanted then
    return redis.error_reply('WRONGTYPE ' .. KEYS[position] .. ' is a ' .. kind)
  end
end

local log_id, seq, before = ARGV[1], 0, '0-0'
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if last then
  seq, log_id, before = tonumber(last[2][2]), last[2][4], last[1]
  if last[2][6] ~= ARGV[2] then
    return {last[2][6], log_id}
  end
end

local replies = {ARGV[2], log_id}
for at = 3, #ARGV, 5 do
  local path, expected, version = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local known = redis.call('HGET', KEYS[2], path)
  local current = known and tonumber(string.match(known, '^%d+')) or 0
  if current ~= expected or version <= current then
    replies[#replies + 1] = false
  else
    seq = seq + 1
    local entry_id = redis.call('XADD', KEYS[1], '*', 'seq', string.format('%.0f', seq),
      'log_id', log_id, 'embedder', ARGV[2], 'before', before, 'path', path,
      'version', ARGV[at + 2], 'payload', ARGV[at + 4])
    redis.call('HSET', KEYS[2], path, ARGV[at + 2] .. ':' .. ARGV[at + 3])
    replies[#replies + 1] = {seq, entry_id, before}
    before = entry_id
  end
end
return replies
