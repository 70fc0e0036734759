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
      local at = ARGV[1]
      -- The head last: where a slot moves and these are away, the room is swept another time.
      redis.call('UNLINK', at .. 'recent:' .. room, at .. 'older:' .. room, at .. 'membership:' .. room)
      redis.call('HDEL', KEYS[1], room)
      swept = swept + 1
    end
  end
end
return swept
