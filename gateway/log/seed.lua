-- Gives a room its head from what the store has reserved. `local RUN, INCARNATION = …` precedes the text.
--
-- KEYS  1 heads, 2 meta, 3 wal, 4 heads put aside, 5 recent, 6 older, 7 membership of the room,
--       8 seeded (hash: room -> incarnation, a space, ts of its last event in ms)
-- ARGV  1 start of the shard's keys, 2 PUBLISH or SPUBLISH, 3 room, 4 nonce of the miss, 5 incarnation the reservation
--       was made for, 6 epoch, 7 seq, 8 ts, 9 messages, 10 epoch_started as a frame, or '' where continuity is kept,
--       11 ms for which ids that come after the shard was adopted are in doubt
-- Answers {'invalid'} (also where the heads are gone, but not what they counted), {'stale'} (the miss is not the one answered: ask again), or {'ok', head}.

local heads, meta, wal = KEYS[1], KEYS[2], KEYS[3]
local prefix, publish, room = ARGV[1], ARGV[2], ARGV[3]
local state = redis.call('HMGET', meta, 'run', 'incarnation', 'miss:' .. room, 'wal_bytes', 'wal_events', 'inherited',
  'since')
if state[1] ~= RUN or state[2] ~= INCARNATION then return {'invalid'} end
local head = redis.call('HGET', heads, room)
if head then return {'ok', head} end
-- The store has not all that was numbered from them: only a new epoch is beyond it. See adopt.lua.
if redis.call('EXISTS', heads) == 0 and redis.call('XRANGE', wal, '(' .. (state[6] or '0-0'), '+', 'COUNT', 1)[1] then
  return {'invalid'}
end
if state[2] ~= ARGV[5] or state[3] ~= ARGV[4] then return {'stale'} end

local epoch, seq, ts, messages = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local committed = seq
local aside = redis.call('HGET', KEYS[4], room)
if aside then
  -- The store may not have all that the old wal holds.
  local _, _, oldTs, _, oldMessages = struct.unpack('>ddddd', aside)
  if oldTs > ts then ts = oldTs end
  if oldMessages > messages then messages = oldMessages end
end
redis.call('HDEL', meta, 'miss:' .. room)
redis.call('UNLINK', KEYS[5], KEYS[6], KEYS[7])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- Ids made long after the last event that the room had are none of its: nobody has to look them up.
local doubtMs = tonumber(ARGV[11])
if now < (tonumber(state[7]) or 0) + doubtMs then
  redis.call('HSET', KEYS[8], room, state[2] .. ' ' .. string.format('%.0f', ts))
  redis.call('PEXPIRE', KEYS[8], ARGV[11])
end
local frame = ARGV[10]
if frame ~= '' then
  if now > ts then ts = now end
  seq = seq + 1
  local stamped = string.sub(frame, 1, 3) .. struct.pack('>I8BI8', seq, 207, ts) .. string.sub(frame, 21)
  local walBytes, walEvents = tonumber(state[4]) or 0, tonumber(state[5]) or 0
  redis.call('XADD', wal, '*', 'f', stamped, 'g', struct.pack('>I4I8', 1, messages))
  redis.call('HSET', meta,
    'wal_bytes', string.format('%.0f', walBytes + #stamped + 12), 'wal_events', string.format('%.0f', walEvents + 1))
  redis.call('APPEND', KEYS[5], stamped)
  redis.call(publish, prefix .. 'room:' .. room, stamped)
  if walEvents == 0 then redis.call(publish, prefix .. 'wake', '') end
end
head = struct.pack('>dddddd', epoch, seq, ts, committed, messages, 0)
redis.call('HSET', heads, room, head)
return {'ok', head}
