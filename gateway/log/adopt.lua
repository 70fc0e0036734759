-- Makes a shard valid for the server that this text was loaded into (`local RUN = '…'` precedes it). Where it was valid
-- for another one, or for none, continuity may have been lost: all heads are put aside, so that every room is seeded anew.
--
-- KEYS  1 heads, 2 meta, 3 heads put aside, 4 wal
-- ARGV  1 an incarnation for the shard, used where it is adopted now
-- Answers {since in ms, incarnation, inherited}: when it was adopted, a name for the time since, and the last entry that
-- the wal had then: the store has to have it before a room is seeded.

local run, since, incarnation, inherited =
  unpack(redis.call('HMGET', KEYS[2], 'run', 'since', 'incarnation', 'inherited'))
if run ~= RUN then
  local time = redis.call('TIME')
  since = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
  incarnation = ARGV[1]
  if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('RENAME', KEYS[1], KEYS[3]) end
  local last = redis.call('XREVRANGE', KEYS[4], '+', '-', 'COUNT', 1)
  inherited = last[1] and last[1][1] or '0-0'
  redis.call('HSET', KEYS[2], 'run', RUN, 'since', since, 'incarnation', incarnation, 'inherited', inherited)
  redis.call('HDEL', KEYS[2], 'committed')
end
return {since, incarnation, inherited or '0-0'}
