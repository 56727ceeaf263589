-- Reads one count for people, and changes nothing.
--
-- KEYS  the epoch, then the count
-- ARGV  run id, nothing, and in tests only the time in microseconds

local now
if ARGV[3] then
  now = tonumber(ARGV[3])
else
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local epoch = redis.call('GET', KEYS[1])
local kept = redis.call('GET', KEYS[2])
return cmsgpack.pack({
  now,
  epoch and cmsgpack.unpack(epoch)[1] or 0,
  kept and { cmsgpack.unpack(kept) } or {},
})
