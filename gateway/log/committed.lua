#!lua flags=allow-oom
-- After the store has committed the front of the wal: sets the committed seqs, trims the wal and what rooms keep beyond
-- RECENT_BYTES, tells who waits, and forgets message ids that are old and committed. May be repeated, and run by two
-- owners at once. Of no entries it only forgets ids. Of one shard or, on one server, of several. A full Redis runs it as well:
-- nothing else makes room there.
--
-- KEYS  for each shard heads, meta, wal, then in a cluster older of each room, so that none of them is away
-- ARGV  1 PUBLISH or SPUBLISH, 2 DEDUPE_SECONDS, 3 number of shards, then for each shard: start of its keys, incarnation that
--       the entries were read under, id of the first entry committed, id of the last, both '0-0' where there is none, their
--       bytes, their events, number of rooms, then for each room: room, committed seq
-- Answers for each shard the number of events left in its wal. Of another incarnation nothing is known, and nothing changed.

local publish, dedupe = ARGV[1], tonumber(ARGV[2])
-- Lua unpacks no more than 8,000 values.
local chunk = 2000

local function parseId(id)
  local ms, n = string.match(id, '(%d+)-(%d+)')
  return tonumber(ms), tonumber(n), ms
end

-- `at`: the shard's first place in ARGV.
local function settle(heads, meta, wal, at)
  local prefix, incarnation, firstId, lastId = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local bytes, events, rooms = tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5]), tonumber(ARGV[at + 6])
  local state = redis.call('HMGET', meta, 'wal_bytes', 'wal_events', 'buckets', 'incarnation', 'committed')
  if (state[4] or '') ~= incarnation then return 1 end

  local names, seqs = {}, {}
  for i = 1, rooms do
    names[i] = ARGV[at + 5 + i * 2]
    seqs[i] = tonumber(ARGV[at + 6 + i * 2])
  end
  local packed, trims = {}, {}
  for from = 1, #names, chunk do
    local found = redis.call('HMGET', heads, unpack(names, from, math.min(from + chunk - 1, #names)))
    for i = 1, #found do
      if found[i] then
        local epoch, seq, ts, committed, messages, behind = struct.unpack('>dddddd', found[i])
        local room, stored = names[from + i - 1], seqs[from + i - 1]
        if stored > committed then
          if behind > 0 then
            trims[#trims + 1] = {prefix .. 'older:' .. room, math.min(behind, stored) + 1}
            if stored >= behind then behind = 0 end
          end
          packed[#packed + 1] = room
          packed[#packed + 1] = struct.pack('>dddddd', epoch, seq, ts, stored, messages, behind)
        end
      end
    end
  end

  -- Another owner may have trimmed a part of it already: then only what is left counts.
  local first = redis.call('XRANGE', wal, '-', '+', 'COUNT', 1)
  if not (first[1] and first[1][1] == firstId) then
    bytes, events = 0, 0
    for _, entry in ipairs(redis.call('XRANGE', wal, '-', lastId)) do
      local groups = entry[2][4]
      bytes = bytes + #entry[2][2] + #groups
      for g = 1, #groups, 12 do events = events + struct.unpack('>I4', groups, g) end
    end
  end

  -- Before the heads, which say that it is done.
  for _, trim in ipairs(trims) do redis.call('XTRIM', trim[1], 'MINID', '~', trim[2], 'LIMIT', 0) end
  for from = 1, #packed, chunk do
    redis.call('HSET', heads, unpack(packed, from, math.min(from + chunk - 1, #packed)))
  end
  local ms, n, msText = parseId(lastId)
  redis.call('XTRIM', wal, 'MINID', '=', msText .. '-' .. string.format('%.0f', n + 1))
  local left = redis.call('XRANGE', wal, '-', '+', 'COUNT', 1)
  local isEmpty = left[1] == nil
  local leftEvents = isEmpty and 0 or math.max(1, (tonumber(state[2]) or 0) - events)
  redis.call('HSET', meta,
    'wal_bytes', isEmpty and '0' or string.format('%.0f', math.max(0, (tonumber(state[1]) or 0) - bytes)),
    'wal_events', string.format('%.0f', leftEvents))
  local markMs, markN = parseId(state[5] or '0-0')
  if ms > markMs or (ms == markMs and n > markN) then redis.call('HSET', meta, 'committed', lastId) end

  local time = redis.call('TIME')
  local oldest = isEmpty and tonumber(time[1]) or math.floor(tonumber(string.match(left[1][1], '(%d+)-')) / 1000)
  -- A bucket ends where the next one begins, the newest when it takes no more. Those whose ids are old and committed go.
  local starts, kept = {}, {}
  for start in string.gmatch(state[3] or '', '%d+') do starts[#starts + 1] = start end
  for i, start in ipairs(starts) do
    local finish = tonumber(starts[i + 1]) or tonumber(start) + dedupe
    if #kept == 0 and finish + dedupe <= tonumber(time[1]) and finish <= oldest then
      redis.call('UNLINK', prefix .. 'ids:' .. start, prefix .. 'changes:' .. start)
    else
      kept[#kept + 1] = start
    end
  end
  if #kept < #starts then redis.call('HSET', meta, 'buckets', table.concat(kept, ',')) end

  if lastId ~= '0-0' then redis.call(publish, prefix .. 'committed', lastId .. ' ' .. incarnation) end
  return leftEvents
end

local left, at = {}, 4
for shard = 1, tonumber(ARGV[3]) do
  left[shard] = settle(KEYS[shard * 3 - 2], KEYS[shard * 3 - 1], KEYS[shard * 3], at)
  at = at + 7 + 2 * tonumber(ARGV[at + 6])
end
return left
