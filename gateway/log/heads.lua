-- The heads of rooms, as far as they are valid on this server. `local RUN, INCARNATION = …` precedes the text.
--
-- KEYS  1 heads, 2 meta
-- ARGV  rooms
-- Answers {'invalid'}, or for each room its head or nil.

local run, incarnation = unpack(redis.call('HMGET', KEYS[2], 'run', 'incarnation'))
if run ~= RUN or incarnation ~= INCARNATION then return {'invalid'} end
return redis.call('HMGET', KEYS[1], unpack(ARGV))
