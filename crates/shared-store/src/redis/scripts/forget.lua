-- Forgets one count.
--
-- KEYS  the epoch, then the count

return cmsgpack.pack(redis.call('DEL', KEYS[2]))
