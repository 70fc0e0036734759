-- Makes a shard valid for the server that this text was loaded into. `local RUN, SALT = …` precedes it. Where the shard was
-- valid for another one, or for none, continuity may have been lost: all heads are put aside, so that every room is seeded
-- anew. So it is where they are gone, while the wal has what was numbered from them.
--
-- KEYS  1 heads, 2 meta, 3 heads put aside, 4 wal
-- ARGV  1 an incarnation for the shard, used where it is adopted now
-- Answers {since in ms, incarnation, inherited}: when it was adopted, a name for the time since, and the last entry that
-- the wal had then: the store has to have it before a room is seeded.

local heads, meta, aside, wal = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local run, since, incarnation, inherited, salt =
  unpack(redis.call('HMGET', meta, 'run', 'since', 'incarnation', 'inherited', 'salt'))
local hasHeads = redis.call('EXISTS', heads) == 1
local isLost = not hasHeads and redis.call('XRANGE', wal, '(' .. (inherited or '0-0'), '+', 'COUNT', 1)[1]
if run ~= RUN or isLost then
  local time = redis.call('TIME')
  since = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
  incarnation = ARGV[1]
  if hasHeads then redis.call('RENAME', heads, aside) end
  local last = redis.call('XREVRANGE', wal, '+', '-', 'COUNT', 1)
  inherited = last[1] and last[1][1] or '0-0'
  redis.call('HSET', meta, 'run', RUN, 'since', since, 'incarnation', incarnation, 'inherited', inherited)
  redis.call('HDEL', meta, 'committed')
end
-- By it other processes find the texts that are on this server.
if salt ~= SALT then redis.call('HSET', meta, 'salt', SALT) end
return {since, incarnation, inherited or '0-0'}
