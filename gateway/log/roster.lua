-- What one process says of its users in a room, merged with what the others say (core/presence.ts has the same rules).
--
-- KEYS  1 hash: user -> `server=o,server=a` (o online, a away), 2 set of rooms that have such a hash
-- ARGV  1 server, 2 room, then pairs: user, `o`, `a` or '' (gone); or, instead of pairs, the single word `prune`: every
--       entry of the server goes
-- Answers {users in the room, user, status, …}: those whose status changed for everybody, as `o`, `a` or ''.

local server = ARGV[1]

local function status(state)
  if not state then return '' end
  return string.find(state, '=o', 1, true) and 'o' or 'a'
end

local function merge(state, code)
  local parts = {}
  for part in string.gmatch(state or '', '[^,]+') do
    if string.sub(part, 1, #server + 1) ~= server .. '=' then parts[#parts + 1] = part end
  end
  if code ~= '' then parts[#parts + 1] = server .. '=' .. code end
  return #parts > 0 and table.concat(parts, ',') or nil
end

local changed = {}
local function apply(user, before, code)
  local after = merge(before or nil, code)
  if after == (before or nil) then return end
  if after then redis.call('HSET', KEYS[1], user, after) else redis.call('HDEL', KEYS[1], user) end
  if status(before) ~= status(after) then
    changed[#changed + 1] = user
    changed[#changed + 1] = status(after)
  end
end

if ARGV[3] == 'prune' then
  local all = redis.call('HGETALL', KEYS[1])
  for i = 1, #all, 2 do apply(all[i], all[i + 1], '') end
else
  for i = 3, #ARGV, 2 do apply(ARGV[i], redis.call('HGET', KEYS[1], ARGV[i]), ARGV[i + 1]) end
end

local count = redis.call('HLEN', KEYS[1])
if count > 0 then redis.call('SADD', KEYS[2], ARGV[2]) else redis.call('SREM', KEYS[2], ARGV[2]) end
table.insert(changed, 1, count)
return changed
