-- Forgets rooms that are idle and fully committed: the store knows them as well as the log does.
--
-- KEYS  1 heads
-- ARGV  1 start of the shard's keys, 2 RECENT_TTL_SECONDS, then rooms
-- Answers how many were forgotten.

local time = redis.call('TIME')
local before = (time[1] - ARGV[2]) * 1000
local names = {}
for i = 3, #ARGV do names[#names + 1] = ARGV[i] end
local found = redis.call('HMGET', KEYS[1], unpack(names))
local swept = 0
for i, room in ipairs(names) do
  if found[i] then
    local _, seq, ts, committed = struct.unpack('>ddddd', found[i])
    if ts < before and committed >= seq then
      redis.call('HDEL', KEYS[1], room)
      local at = ARGV[1]
      redis.call('UNLINK', at .. 'recent:' .. room, at .. 'older:' .. room, at .. 'membership:' .. room)
      swept = swept + 1
    end
  end
end
return swept
