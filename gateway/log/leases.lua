#!lua flags=allow-oom
-- Who flushes which shard. A lease lasts for as long as its holder says that it lives: one call of each process renews all
-- of its own. The server's clock counts. A full Redis runs it as well: whoever flushes makes room.
--
-- KEYS  1 gateways (sorted set: process -> when it last said that it lives), 2 leases (hash: shard -> process)
-- ARGV  1 process, as `name:nonce`, 2 ms after which a process that says nothing is dead, 3 `first` where it says so for
--       the first time, else '', then shards that it wants
-- Answers {processes alive, its shards, shards of other living processes, processes alive of the same name but itself};
-- the shards with commas between them.

local me = ARGV[1]
local name = string.match(me, '^[^:]*:')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - ARGV[2]))
redis.call('ZADD', KEYS[1], string.format('%.0f', now), me)

local living, namesakes = {}, 0
for _, process in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local isNamesake = process ~= me and string.sub(process, 1, #name) == name
  if isNamesake and ARGV[3] == 'first' then
    -- As a rule the one before, which was killed. If it lives it says so again, and both hear of each other.
    redis.call('ZREM', KEYS[1], process)
  else
    living[process] = true
    if isNamesake then namesakes = namesakes + 1 end
  end
end
local holders = {}
local all = redis.call('HGETALL', KEYS[2])
for i = 1, #all, 2 do
  if living[all[i + 1]] then holders[all[i]] = all[i + 1] end
end
for i = 4, #ARGV do
  local shard = ARGV[i]
  if not holders[shard] then
    redis.call('HSET', KEYS[2], shard, me)
    holders[shard] = me
  end
end
local mine, others = {}, {}
for shard, process in pairs(holders) do
  local list = process == me and mine or others
  list[#list + 1] = shard
end
return {redis.call('ZCARD', KEYS[1]), table.concat(mine, ','), table.concat(others, ','), namesakes}
