-- In front of the script of each algorithm: what ledger/epoch.rs and ledger/wire.rs do.
--
-- KEYS  the epoch, then the counts that are asked for
-- ARGV  run id that the caller found when it connected, what is said, and in tests only the time in microseconds
--
-- Durations and times are microseconds, which a double keeps exactly.

local NOTICE = 500000
local FRESH = 1
local EPOCH_TTL = 32 * 86400 * 1000

local run = ARGV[1]
local from, known, came_back, live, without, calls = unpack(cmsgpack.unpack(ARGV[2]))
local now
if ARGV[3] then
  now = tonumber(ARGV[3])
else
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end

-- How long a lease of such a window may live.
local function life(window)
  return math.min(math.floor(window * 53 / 100), 1000000)
end

-- How long after the birth of an epoch nothing of such a window is granted.
local function learn(window)
  return life(window) + NOTICE
end

-- Which epoch it is: its number, when it was born or last prolonged (0: there is nothing to learn), in which life of the
-- server.
local epoch, born
do
  local kept = redis.call('GET', KEYS[1])
  local number, since, life_of = 0, 0, ''
  if kept then
    number, since, life_of = unpack(cmsgpack.unpack(kept))
  end
  -- Nothing is there, and nobody ever knew of anything; or somebody did, after all.
  local first = number == 0 and known == 0 and not came_back
  local doubted = since == FRESH and known ~= 0 and known ~= number
  local lost = number == 0 or life_of ~= run or known > number
  local young = since > 0 and now < since + NOTICE
  if lost or (came_back and not young) then
    local next = math.max(number, known) + 1
    if number == 0 then next = math.max(next, now) end
    number = next
  end
  if lost or came_back or doubted then
    -- A cluster that starts is not made to wait, nor is a node alone.
    since = (came_back or doubted or live ~= 1) and (first and FRESH or now) or 0
    redis.call('SET', KEYS[1], cmsgpack.pack({ number, since, run }), 'PX', EPOCH_TTL)
  else
    -- Written whole: a server that is full refuses a script its first write if that may take memory, and lets all others
    -- pass after one that takes none.
    redis.call('SET', KEYS[1], kept, 'PX', EPOCH_TTL)
  end
  epoch, born = number, since
end

-- What is left of a time of learning of this length.
local function learning(length)
  return born > 0 and math.max(0, born + length - now) or 0
end

-- Serves all calls. `serve(count, numbers, call)` gets what is kept of a count or nil, and returns one of {1}, {2, its
-- own}; then what is to be kept, or nil to leave it as it is; then for how many milliseconds. `declares(call)`: it tells
-- all that the node knows.
local function serve_all(declares, serve)
  local answers = {}
  for i = 1, #calls do
    local of, _, numbers, call
    of, _, numbers, call, from = unpack(calls[i])
    if of ~= epoch or (came_back and not declares(call)) then
      answers[i] = { 0 }
    else
      local kept = redis.call('GET', KEYS[i + 1])
      if kept then kept = cmsgpack.unpack(kept) end
      local answer, keep, ttl = serve(kept or nil, numbers, call)
      answers[i] = answer
      -- A test's time goes slower than the server's.
      if ARGV[3] then ttl = ttl and ttl + 3600000 end
      if keep then redis.call('SET', KEYS[i + 1], cmsgpack.pack(keep), 'PX', ttl) end
    end
  end
  return cmsgpack.pack({ epoch, learning(learn(1000000)), answers })
end
