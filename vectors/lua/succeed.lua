#!lua
-- Begins a log in place of another encoder's, in one step: who follows the old one finds out at once,
-- and an indexer with the old encoder finds no empty log to begin its own in.
-- KEYS: log (stream), versions (hash)
-- ARGV: identity for the new log, identity of the encoder, path and payload of the first entry
-- Returns 1, or 0 if the log was this encoder's already.
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if last and last[2][6] == ARGV[2] and last[2][7] == 'before' then
  return 0
end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('XADD', KEYS[1], '*', 'seq', '1', 'log_id', ARGV[1], 'embedder', ARGV[2],
  'before', '0-0', 'path', ARGV[3], 'version', '1', 'payload', ARGV[4])
redis.call('HSET', KEYS[2], ARGV[3], '1:')
return 1
