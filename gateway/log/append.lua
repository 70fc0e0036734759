-- Appends a batch of events of one shard: dedupes, numbers, stamps, keeps, publishes. What may fail comes before the first
-- write, since a script that fails halfway keeps what it wrote. The text is preceded by `local RUN, INCARNATION = …`.
-- RUN is the run_id of the very server it was loaded into: after a restart, a failover or a move of the slot the script
-- is not there, so no append can reach a server whose heads were not found valid. INCARNATION is the one that the caller
-- knows: where the log lost everything on a server that went on, whoever comes second finds out as well.
--
-- KEYS  1 heads (hash: room -> epoch, seq, ts, committed seq, messages, behind as '>dddddd'; behind: the seq up to which
--         older parts may go as soon as they are committed, 0 where none waits)
--       2 meta  (hash: run, since, incarnation, inherited, wal_bytes, wal_events, buckets, committed, miss:ROOM)
--       3 wal   (stream: one entry a call; f: the frames, room by room; g: for each room the number of its frames and of
--         its messages before them, as '>I4I8')
--       in a cluster then recent and older of each room, so that none of them is away
-- ARGV  1 start of the shard's keys, 2 WAL_MAX_BYTES, 3 RECENT_BYTES, 4 DEDUPE_SECONDS, 5 PUBLISH or SPUBLISH,
--       6 nonce for misses, 7 '1' where somebody waits for the commit, else '', then for each entry: room, id (16 bytes),
--       from, frame
-- Answers {'invalid'}: another server's heads, or another incarnation; adopt first. {'full'}: the wal is at its bound.
--         {'missing', room, nonce, …}: these rooms have no head; seed them first. Nothing was written but the nonces.
--         {'ok', wal id, incarnation, packed}: for each entry '>I8BI8': seq; 207 new, 1 repeated, 2 another user's id; ts.
--
-- Most of its time goes into making strings: one pack of seq and ts, with the byte that stands between them in a frame,
-- is the stamp, the value kept for the id and the answer.

local heads, meta, wal = KEYS[1], KEYS[2], KEYS[3]
local ARGV, call, sub, pack, unpackBytes, byte = ARGV, redis.call, string.sub, struct.pack, struct.unpack, string.byte
local prefix, publish = ARGV[1], ARGV[5]
local firstArg, lastArg = 8, #ARGV

local state = call('HMGET', meta, 'run', 'incarnation', 'wal_bytes', 'wal_events', 'buckets')
if state[1] ~= RUN or state[2] ~= INCARNATION then return {'invalid'} end
local walBytes = tonumber(state[3]) or 0
local walEvents = tonumber(state[4]) or 0
-- The second bound keeps the jump of a new epoch (2^26) beyond every number that was given.
if walBytes >= tonumber(ARGV[2]) or walEvents >= 33554432 then return {'full'} end

-- Rooms by their place in `names`; entries by theirs in the call.
local names, rooms, fields, placeOf, n, m = {}, {}, {}, {}, 0, 0
for at = firstArg, lastArg, 4 do
  local room = ARGV[at]
  m = m + 1
  fields[m] = ARGV[at + 1] .. room
  local r = placeOf[room]
  if not r then
    n = n + 1
    names[n], placeOf[room], r = room, n, n
  end
  rooms[m] = r
end
local packedHeads = call('HMGET', heads, unpack(names))
local missing
for i = 1, n do
  if not packedHeads[i] then
    missing = missing or {}
    missing[#missing + 1] = names[i]
  end
end
if missing then
  local answer = {'missing'}
  for _, room in ipairs(missing) do
    call('HSETNX', meta, 'miss:' .. room, ARGV[6])
    answer[#answer + 1] = room
    answer[#answer + 1] = call('HGET', meta, 'miss:' .. room)
  end
  return answer
end

local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- Each bucket is named by the second it begins in, so that another DEDUPE_SECONDS finds those of the one before.
local buckets = {}
for start in string.gmatch(state[5] or '', '%d+') do buckets[#buckets + 1] = start end
local newest = buckets[#buckets]
local isNewBucket = not newest or tonumber(time[1]) >= tonumber(newest) + tonumber(ARGV[4])
if isNewBucket then buckets[#buckets + 1] = time[1] end
local seen = {}
-- With nothing in the wal all is committed, and what is older than the window does not count.
local lastBucket = walEvents == 0 and math.max(1, #buckets - 1) or 1
for b = #buckets, lastBucket, -1 do
  local found = call('HMGET', prefix .. 'ids:' .. buckets[b], unpack(fields))
  for i = 1, m do
    local first = found[i]
    if first and not seen[fields[i]] then seen[fields[i]] = first end
  end
end

-- Behind a text or nil, and behind a whole number, of which nothing else stands in these places.
local function afterText(frame, at)
  local head = byte(frame, at)
  if head == 192 then return at + 1 end
  if head == 217 then return at + 2 + byte(frame, at + 1) end
  if head == 218 then return at + 3 + unpackBytes('>I2', frame, at + 1) end
  return at + 1 + head - 160
end
local function afterNumber(frame, at)
  local head = byte(frame, at)
  return head < 128 and at + 1 or at + 1 + 2 ^ (head - 204)
end
-- What a change is about, without the room: op and target; of a reaction op, user, target and emoji.
local function changeField(op, frame)
  local from = afterText(frame, 21)
  local target = afterText(frame, from)
  local finish = afterNumber(frame, target)
  if op == 67 then return string.char(op) .. sub(frame, from, afterText(frame, finish) - 1) end
  return string.char(op) .. sub(frame, target, finish - 1)
end

local epochs, seqs, times, committed, messages, behind, before, pieces = {}, {}, {}, {}, {}, {}, {}, {}
for r = 1, n do
  local epoch, seq, ts, stored, count, waits = unpackBytes('>dddddd', packedHeads[r])
  epochs[r], seqs[r], times[r], committed[r], messages[r], behind[r], before[r] =
    epoch, seq, ts > now and ts or now, stored, count, waits, count
end
local answers, ids, k = {}, {}, 0
local changes, deletes, membership = {}, {}, {}
for i = 1, m do
  local at = firstArg + i * 4 - 4
  local from, field = ARGV[at + 2], fields[i]
  local first = seen[field]
  if first then
    answers[i] = sub(first, 1, 8) .. (sub(first, 18) == from and '\1' or '\2') .. sub(first, 10, 17)
  else
    local r, frame = rooms[i], ARGV[at + 3]
    local seq = seqs[r] + 1
    seqs[r] = seq
    local place = pack('>I8BI8', seq, 207, times[r])
    -- 0x9n 0x40: a message.
    local op = byte(frame, 2)
    if op == 64 then
      messages[r] = messages[r] + 1
    elseif op == 66 then
      deletes[#deletes + 1] = {changeField(op, frame) .. names[r], sub(place, 1, 8)}
    elseif op < 68 then
      changes[#changes + 1] = changeField(op, frame) .. names[r]
      changes[#changes + 1] = sub(place, 1, 8)
    elseif op < 71 then
      membership[#membership + 1] = {r, seq, sub(frame, 1, 3) .. place .. sub(frame, 21)}
    end
    local list = pieces[r]
    if list then
      local f = #list
      list[f + 1], list[f + 2], list[f + 3] = sub(frame, 1, 3), place, sub(frame, 21)
    else
      pieces[r] = {sub(frame, 1, 3), place, sub(frame, 21)}
    end
    local kept = place .. from
    seen[field] = kept
    ids[k + 1], ids[k + 2] = field, kept
    k = k + 2
    answers[i] = place
  end
end
local answer = table.concat(answers)
if k == 0 then
  -- All repeated: they are committed when what is in the wal now is.
  local last = call('XREVRANGE', wal, '+', '-', 'COUNT', 1)
  return {'ok', last[1] and last[1][1] or '0-0', state[2], answer}
end

-- Read first: where a slot moves, a key that is away is found out now, not halfway.
local changesKey = prefix .. 'changes:' .. buckets[#buckets]
if #changes > 0 or #deletes > 0 then call('EXISTS', changesKey) end
for _, event in ipairs(membership) do call('EXISTS', prefix .. 'membership:' .. names[event[1]]) end

local function packHead(r)
  return pack('>dddddd', epochs[r], seqs[r], times[r], committed[r], messages[r], behind[r])
end
local frames, groups, written, packed, p = {}, {}, {}, {}, 0
for r = 1, n do
  local list = pieces[r]
  if list then
    p = p + 1
    frames[p], groups[p], written[p] = table.concat(list), pack('>I4I8', #list / 3, before[r]), r
    packed[p * 2 - 1], packed[p * 2] = names[r], packHead(r)
  end
end
local entryFrames, entryGroups = table.concat(frames), table.concat(groups)
local walId = call('XADD', wal, '*', 'f', entryFrames, 'g', entryGroups)
call('HSET', heads, unpack(packed))
call('HSET', prefix .. 'ids:' .. buckets[#buckets], unpack(ids))
call('HSET', meta, 'wal_bytes', walBytes + #entryFrames + #entryGroups, 'wal_events', walEvents + k / 2)
if isNewBucket then call('HSET', meta, 'buckets', table.concat(buckets, ',')) end
if #changes > 0 then call('HSET', changesKey, unpack(changes)) end
for _, delete in ipairs(deletes) do call('HSETNX', changesKey, delete[1], delete[2]) end
-- What the store does not have of members and rooms, so that who loads a room need not read all.
for _, event in ipairs(membership) do
  local key = prefix .. 'membership:' .. names[event[1]]
  call('XADD', key, event[2], '', event[3])
  call('XTRIM', key, 'MINID', '=', committed[event[1]] + 1)
end

-- The last frames are one string that grows; when it has RECENT_BYTES it becomes a part of `older`, a stream of parts by
-- their last seq, and the parts before it go as far as they are committed.
local recentBytes = tonumber(ARGV[3])
for i = 1, p do
  local r = written[i]
  local recent = prefix .. 'recent:' .. names[r]
  if call('APPEND', recent, frames[i]) > recentBytes then
    local older, part = prefix .. 'older:' .. names[r], call('GET', recent)
    local last = unpackBytes('>I8', part, 4) - 1
    call('XADD', older, seqs[r], '', part)
    call('UNLINK', recent)
    call('XTRIM', older, 'MINID', '~', math.min(last, committed[r]) + 1, 'LIMIT', 0)
    behind[r] = last > committed[r] and last or 0
    call('HSET', heads, names[r], packHead(r))
  end
  call(publish, prefix .. 'room:' .. names[r], frames[i])
end
-- Whoever flushes this shard sleeps while its wal is empty, and takes his time where nobody waits.
if walEvents == 0 or ARGV[7] ~= '' then call(publish, prefix .. 'wake', ARGV[7]) end
return {'ok', walId, state[2], answer}
