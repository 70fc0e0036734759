-- Appends a batch of events of one shard: dedupes, numbers, stamps, keeps, publishes. All reads come before the first
-- write, since a script that fails halfway keeps what it wrote. The text is preceded by `local RUN, INCARNATION = …`.
-- RUN is the run_id of the very server it was loaded into: after a restart, a failover or a move of the slot the script
-- is not there, so no append can reach a server whose heads were not found valid. INCARNATION is the one that the caller
-- knows: where the log lost everything on a server that went on, whoever comes second finds out as well.
--
-- KEYS  1 heads (hash: room -> epoch, seq, ts, committed seq, messages as '>ddddd')
--       2 meta  (hash: run, since, incarnation, inherited, wal_bytes, wal_events, buckets, committed, miss:ROOM)
--       3 wal   (stream: one entry a call; f: the frames, n: the message number of each as '>I8')
--       in a cluster then the two parts of recent of each room, so that none of them is away
-- ARGV  1 start of the shard's keys, 2 WAL_MAX_BYTES, 3 RECENT_BYTES, 4 DEDUPE_SECONDS, 5 PUBLISH or SPUBLISH,
--       6 nonce for misses, then for each entry: room, id (16 bytes), from, frame
-- Answers {'invalid'}: another server's heads, or another incarnation; adopt first. {'full'}: the wal is at its bound.
--         {'missing', room, nonce, …}: these rooms have no head; seed them first. Nothing was written but the nonces.
--         {'ok', wal id, incarnation, packed}: for each entry '>BI8I8': 0 new, 1 repeated, 2 another user's id; seq; ts.

local heads, meta, wal = KEYS[1], KEYS[2], KEYS[3]
local prefix, publish = ARGV[1], ARGV[5]
local firstArg = 7
local count = (#ARGV - firstArg + 1) / 4

local state = redis.call('HMGET', meta, 'run', 'wal_bytes', 'wal_events', 'buckets', 'incarnation')
if state[1] ~= RUN or state[5] ~= INCARNATION then return {'invalid'} end
local walBytes = tonumber(state[2]) or 0
local walEvents = tonumber(state[3]) or 0
-- The second bound keeps the jump of a new epoch (2^26) beyond every number that was given.
if walBytes >= tonumber(ARGV[2]) or walEvents >= 33554432 then return {'full'} end

local names, known = {}, {}
for i = 0, count - 1 do
  local room = ARGV[firstArg + i * 4]
  if not known[room] then
    known[room] = true
    names[#names + 1] = room
  end
end
local rooms, missing = {}, {}
local packedHeads = redis.call('HMGET', heads, unpack(names))
for i, room in ipairs(names) do
  if packedHeads[i] then
    local epoch, seq, ts, committed, messages = struct.unpack('>ddddd', packedHeads[i])
    rooms[room] = {epoch = epoch, seq = seq, ts = ts, committed = committed, messages = messages, frames = {}}
  else
    missing[#missing + 1] = room
  end
end
if #missing > 0 then
  local answer = {'missing'}
  for _, room in ipairs(missing) do
    redis.call('HSETNX', meta, 'miss:' .. room, ARGV[6])
    answer[#answer + 1] = room
    answer[#answer + 1] = redis.call('HGET', meta, 'miss:' .. room)
  end
  return answer
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- Each bucket is named by the second it begins in, so that another DEDUPE_SECONDS finds those of the one before.
local buckets = {}
for start in string.gmatch(state[4] or '', '%d+') do buckets[#buckets + 1] = start end
local newest = buckets[#buckets]
if not newest or tonumber(time[1]) >= tonumber(newest) + tonumber(ARGV[4]) then buckets[#buckets + 1] = time[1] end
local fields, seen = {}, {}
for i = 0, count - 1 do
  local at = firstArg + i * 4
  fields[i + 1] = ARGV[at + 1] .. ARGV[at]
end
-- With nothing in the wal all is committed, and what is older than the window does not count.
local lastBucket = walEvents == 0 and math.max(1, #buckets - 1) or 1
for b = #buckets, lastBucket, -1 do
  local found = redis.call('HMGET', prefix .. 'ids:' .. buckets[b], unpack(fields))
  for i = 1, count do
    if found[i] and not seen[fields[i]] then
      local seq, ts = struct.unpack('>I8I8', found[i])
      seen[fields[i]] = {seq = seq, ts = ts, from = string.sub(found[i], 17)}
    end
  end
end

local answers, ids = {}, {}
for i = 0, count - 1 do
  local at = firstArg + i * 4
  local room, from, frame = rooms[ARGV[at]], ARGV[at + 2], ARGV[at + 3]
  local field = fields[i + 1]
  local first = seen[field]
  if first then
    answers[i + 1] = struct.pack('>BI8I8', first.from == from and 1 or 2, first.seq, first.ts)
  else
    room.seq = room.seq + 1
    if now > room.ts then room.ts = now end
    -- 0x9n 0x40: a message.
    if string.byte(frame, 2) == 64 then room.messages = room.messages + 1 end
    local stamped = string.sub(frame, 1, 3) .. struct.pack('>I8BI8', room.seq, 207, room.ts) .. string.sub(frame, 21)
    room.frames[#room.frames + 1] = stamped
    room.numbers = (room.numbers or '') .. struct.pack('>I8', room.messages)
    seen[field] = {seq = room.seq, ts = room.ts, from = from}
    ids[#ids + 1] = field
    ids[#ids + 1] = struct.pack('>I8I8', room.seq, room.ts) .. from
    answers[i + 1] = struct.pack('>BI8I8', 0, room.seq, room.ts)
  end
end

if #ids == 0 then
  -- All repeated: they are committed when what is in the wal now is.
  local last = redis.call('XREVRANGE', wal, '+', '-', 'COUNT', 1)
  return {'ok', last[1] and last[1][1] or '0-0', state[5], table.concat(answers)}
end

local packed, frames, numbers = {}, {}, {}
for _, name in ipairs(names) do
  local room = rooms[name]
  if #room.frames > 0 then
    room.bytes = table.concat(room.frames)
    frames[#frames + 1] = room.bytes
    numbers[#numbers + 1] = room.numbers
    packed[#packed + 1] = name
    packed[#packed + 1] = struct.pack('>ddddd', room.epoch, room.seq, room.ts, room.committed, room.messages)
  end
end
local entryFrames, entryNumbers = table.concat(frames), table.concat(numbers)
local walId = redis.call('XADD', wal, '*', 'f', entryFrames, 'n', entryNumbers)
redis.call('HSET', heads, unpack(packed))
redis.call('HSET', prefix .. 'ids:' .. buckets[#buckets], unpack(ids))
redis.call('HSET', meta,
  'wal_bytes', string.format('%.0f', walBytes + #entryFrames + #entryNumbers),
  'wal_events', string.format('%.0f', walEvents + #ids / 2),
  'buckets', table.concat(buckets, ','))
for _, name in ipairs(names) do
  local room = rooms[name]
  if room.bytes then
    local recent = prefix .. 'recent:' .. name
    local size = redis.call('APPEND', recent, room.bytes)
    if size > tonumber(ARGV[3]) then
      -- The older part may go when all of it is committed; until then this one grows.
      local first = struct.unpack('>I8', redis.call('GETRANGE', recent, 3, 10))
      if room.committed >= first - 1 then redis.call('RENAME', recent, prefix .. 'older:' .. name) end
    end
    redis.call(publish, prefix .. 'room:' .. name, room.bytes)
  end
end
-- Whoever flushes this shard sleeps while its wal is empty.
if walEvents == 0 then redis.call(publish, prefix .. 'wake', '') end
return {'ok', walId, state[5], table.concat(answers)}
