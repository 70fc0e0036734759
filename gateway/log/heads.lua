-- The heads of rooms, as far as they are valid on this server. `local RUN = '…'` precedes the text.
--
-- KEYS  1 heads, 2 meta
-- ARGV  rooms
-- Answers {'invalid'}, or for each room its head or nil.

if redis.call('HGET', KEYS[2], 'run') ~= RUN then return {'invalid'} end
return redis.call('HMGET', KEYS[1], unpack(ARGV))
