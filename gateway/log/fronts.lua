-- The fronts of several wals of one server, for whoever flushes them. Writes nothing.
--
-- KEYS  for each shard meta, wal
-- ARGV  1 entries of each at most, 2 bytes of all above which no further one is read
-- Answers for each shard {incarnation, entries as XRANGE answers them}, or nil where it was not read.

local answer, bytes = {}, 0
for i = 1, #KEYS, 2 do
  local front = false
  if bytes <= tonumber(ARGV[2]) then
    local entries = redis.call('XRANGE', KEYS[i + 1], '-', '+', 'COUNT', ARGV[1])
    for _, entry in ipairs(entries) do bytes = bytes + #entry[2][2] end
    front = {redis.call('HGET', KEYS[i], 'incarnation') or '', entries}
  end
  answer[(i + 1) / 2] = front
end
return answer
