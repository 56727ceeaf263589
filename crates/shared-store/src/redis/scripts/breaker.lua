-- What shared-state's breaker/ledger.rs and breaker/decide.rs do.
--
-- KEYS  the epoch of limits (not used), what is common to all breakers, then the breakers that are asked for
-- ARGV  run id that the caller found when it connected, what is said, and in tests only the time in microseconds
--
-- Times and durations are microseconds, which a double keeps exactly. States are lists, by the names below.

local CLOSED, SUSPECT, OPEN, HALF_OPEN = 0, 1, 2, 3
local BY_FAILURES, BY_SLOW, BY_RUN, BY_PROBE, BY_NOTHING = 1, 2, 3, 4, 5
local NODES, DOUBLINGS, MOST = 64, 5, 4294967295
local SUSPECTED, CHECK, LEARN, AGAIN, BEGIN = 2000000, 1000000, 2000000, 250000, 1000000
local ERA_TTL = 32 * 86400 * 1000
local DECISIONS = 2048

local run = ARGV[1]
local channel, sharded, said = unpack(cmsgpack.unpack(ARGV[2]))
local from, live, known, chance, asks = unpack(said)
live = math.min(math.max(live, 1), 1000000)
local now
if ARGV[3] then
  now = tonumber(ARGV[3])
else
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end

local function floor_of(of)
  return math.max(math.floor(of / (2 * live)), math.min(of, 3), 1)
end

local function add(a, b)
  return {
    math.min(a[1] + b[1], MOST), math.min(a[2] + b[2], MOST), math.min(a[3] + b[3], MOST), math.max(a[4], b[4]),
  }
end

local function is_empty(counts)
  return counts[1] == 0 and counts[2] == 0 and counts[3] == 0 and counts[4] == 0
end

local function share(part, whole, millionths)
  return part * 1000000 >= millionths * whole
end

-- A breaker as it is kept, and its numbers.
local function state_of(kept)
  local b = {}
  b.epoch, b.revision, b.phase, b.till, b.rest, b.trips, b.quiet_since, b.holder, b.probes, b.asks, b.seen_by, b.checker,
    b.nodes, b.cause, b.rule, b.base, b.born = unpack(kept)
  return b
end

local function kept_of(b)
  return {
    b.epoch, b.revision, b.phase, b.till, b.rest, b.trips, b.quiet_since, b.holder, b.probes, b.asks, b.seen_by,
    b.checker, b.nodes, b.cause, b.rule, b.base, b.born,
  }
end

local function nothing()
  return state_of({
    0, 0, CLOSED, 0, 0, 0, 0, { '', 0 }, 0, 0, {}, { '', 0 }, {}, { '', 0, '', {} }, { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 },
    0, 0,
  })
end

local function numbers(rule)
  local r = {}
  r.failure_rate, r.slow_rate, r.consecutive, r.window, r.min_requests, r.open_for, r.max_open_for, r.probes,
    r.observers, r.probe_timeout, r.version = unpack(rule)
  return r
end

local function is_caller(holder)
  return holder[1] == from[1] and holder[2] == from[2]
end

-- A decision: all that belongs to the one before is over.
local function turn(b, epoch, phase, till)
  b.epoch, b.revision, b.phase, b.till = epoch, 0, phase, till
  b.holder, b.probes, b.asks, b.seen_by, b.checker, b.nodes = { '', 0 }, 0, 0, {}, { '', 0 }, {}
end

local function trip(b, r)
  local doubled = math.min(r.open_for * 2 ^ math.min(b.trips, DOUBLINGS), r.max_open_for)
  b.rest = math.min(math.floor(doubled * (900 + chance % 201) / 1000), r.max_open_for)
  b.trips = math.min(b.trips + 1, 30)
  turn(b, b.epoch + 1, OPEN, now + b.rest)
end

-- What the store does not know, or has lost, it takes from those who do: the highest epoch among them.
local function adopt(b, r, era, ask)
  local first = era * DECISIONS
  if b.epoch < first then
    local fresh = nothing()
    fresh.rule, fresh.quiet_since, fresh.born = b.rule, now, now
    b = fresh
  end
  local late = ask.epoch < first and ask.epoch > b.base and now < b.born + LEARN
  if b.epoch ~= 0 and ask.epoch <= b.epoch and not late then return b end
  b.base = math.max(b.base, ask.epoch)
  local epoch = math.max(b.epoch, ask.epoch, first) + 1
  b.trips = math.max(b.trips, math.min(ask.trips, 30))
  if ask.phase == CLOSED or ask.phase == SUSPECT then
    turn(b, epoch, CLOSED, 0)
  else
    b.rest = r.open_for
    turn(b, epoch, OPEN, now + math.min(ask.left, r.max_open_for + r.probe_timeout))
  end
  b.quiet_since = now
  return b
end

local function clear_suspicion(b)
  b.phase, b.revision, b.seen_by = CLOSED, b.revision + 1, {}
end

-- What time alone does.
local function settle(b)
  if b.phase == HALF_OPEN and now >= b.till then
    b.cause[2] = BY_NOTHING
    turn(b, b.epoch + 1, OPEN, b.till + b.rest)
  elseif b.phase == SUSPECT and now >= b.till then
    clear_suspicion(b)
  end
end

-- How the probes of the lease went.
local function probed(b, r, ask)
  local epoch, left, succeeded, failed, said_nothing, returned = unpack(ask.lease)
  if b.phase ~= HALF_OPEN or epoch ~= b.epoch or not is_caller(b.holder) then return end
  local ended = succeeded + failed + said_nothing
  if failed > 0 then
    b.cause = { from[1], BY_PROBE, ask.request_id, { { from[1], { ended, failed, 0, failed } } } }
    trip(b, r)
  elseif succeeded >= b.probes then
    b.quiet_since = now
    b.cause = { '', 0, '', {} }
    turn(b, b.epoch + 1, CLOSED, 0)
  elseif returned then
    turn(b, b.epoch + 1, OPEN, now)
  elseif left == 0 and ended >= b.probes then
    b.cause[2] = BY_NOTHING
    turn(b, b.epoch + 1, OPEN, now + AGAIN)
  elseif left + ended >= b.probes and left > 0 then
    b.till = now + r.probe_timeout + BEGIN
  end
end

-- What a life of a node is kept as: its name, its boot, seq, heard, window, opinion, opined.
local function node_of(b)
  for i, node in ipairs(b.nodes) do
    if node[1] == from[1] and node[2] == from[2] then return node end
  end
  if #b.nodes >= NODES then
    local oldest = 1
    for i, node in ipairs(b.nodes) do
      if node[4] < b.nodes[oldest][4] then oldest = i end
    end
    table.remove(b.nodes, oldest)
  end
  local node = { from[1], from[2], 0, now, {}, 0, 0 }
  b.nodes[#b.nodes + 1] = node
  return node
end

local function part_of(r)
  return math.floor(now / math.max(math.floor(r.window / 10), 1))
end

local function sum_of(window)
  local sum = { 0, 0, 0, 0 }
  for _, part in ipairs(window) do sum = add(sum, part[2]) end
  return sum
end

-- Forgets evidence that is older than the window.
local function run_out(b, r)
  local part, kept = part_of(r), math.max(r.window, SUSPECTED)
  local nodes = {}
  for _, node in ipairs(b.nodes) do
    local window = {}
    for _, counted in ipairs(node[5]) do
      if counted[1] + 10 > part then window[#window + 1] = counted end
    end
    node[5] = window
    if node[4] + kept > now then nodes[#nodes + 1] = node end
  end
  b.nodes = nodes
end

-- What the evidence of all nodes together says: by what it opens and what each counted, or who suspects.
local function judge(b, r)
  local names, by_name = {}, {}
  local all = { 0, 0, 0, 0 }
  for _, node in ipairs(b.nodes) do
    local name, counts = node[1], sum_of(node[5])
    local opined = node[6] == 2 and now < node[7] + SUSPECTED
    local same = by_name[name]
    if same then
      same[1] = add(same[1], counts)
      same[2] = same[2] or opined
    else
      names[#names + 1] = name
      by_name[name] = { counts, opined }
    end
  end
  for _, name in ipairs(names) do all = add(all, by_name[name][1]) end
  local needed = math.max(math.min(r.observers, live), 1)
  local own_floor, own_run = floor_of(r.min_requests), floor_of(r.consecutive)
  local suspects, is_suspect = {}, {}
  for by = BY_FAILURES, BY_RUN do
    local enough = all[1] >= r.min_requests
    if by == BY_RUN then enough = r.consecutive > 0 end
    local function passes(counts, floor, run)
      if by == BY_FAILURES then
        return r.failure_rate > 0 and counts[1] >= floor and share(counts[2], counts[1], r.failure_rate)
      elseif by == BY_SLOW then
        return r.slow_rate > 0 and counts[1] >= floor and share(counts[3], counts[1], r.slow_rate)
      end
      return counts[4] >= run
    end
    if enough then
      local seen, observers = {}, 0
      for _, name in ipairs(names) do
        local counts, opined = by_name[name][1], by_name[name][2]
        if passes(counts, own_floor, own_run) then
          seen[#seen + 1] = name
          observers = observers + 1
        elseif opined then
          observers = observers + 1
        end
      end
      if #seen > 0 then
        local whole = passes(all, 1, r.consecutive)
        if whole and observers >= needed then
          local counts = {}
          for i, name in ipairs(names) do counts[i] = { name, by_name[name][1] } end
          return by, counts
        end
        if by ~= BY_RUN or whole then
          for _, name in ipairs(seen) do
            if not is_suspect[name] then
              is_suspect[name] = true
              suspects[#suspects + 1] = name
            end
          end
        end
      end
    end
  end
  return 0, suspects
end

local function same_names(a, b)
  if #a ~= #b then return false end
  for i = 1, #a do
    if a[i] ~= b[i] then return false end
  end
  return true
end

local function decide(b, r, ask)
  local by, who = judge(b, r)
  if by ~= 0 then
    b.cause = { from[1], by, ask.request_id, who }
    local lived_down = math.floor(math.max(now - b.quiet_since, 0) / math.max(10 * r.open_for, 1))
    b.trips = math.max(b.trips - lived_down, 0)
    trip(b, r)
  elseif #who > 0 then
    b.till = now + SUSPECTED
    if b.phase ~= SUSPECT or not same_names(b.seen_by, who) then
      b.phase, b.revision, b.seen_by = SUSPECT, b.revision + 1, who
    end
  elseif b.phase == SUSPECT then
    clear_suspicion(b)
  end
end

-- Takes evidence in. The number up to which it was heard.
local function hear(b, r, ask)
  local counts_now = b.phase == CLOSED or b.phase == SUSPECT
  if ask.epoch ~= b.epoch or not counts_now or (ask.seq == 0 and ask.opinion == 0) then
    run_out(b, r)
    return ask.seq
  end
  local node = node_of(b)
  node[4] = now
  if ask.seq > node[3] then
    node[3] = ask.seq
    if not is_empty(ask.counts) then
      local part, window = part_of(r), node[5]
      local newest = window[#window]
      if newest and newest[1] >= part then
        newest[2] = add(newest[2], ask.counts)
      else
        window[#window + 1] = { part, ask.counts }
      end
    end
  end
  if ask.opinion ~= 0 then
    node[6], node[7] = ask.opinion, now
  end
  local heard = node[3]
  run_out(b, r)
  decide(b, r, ask)
  return heard
end

-- A request of the caller waits to be a probe.
local function wish(b, r, ask)
  if not ask.wish then return end
  if b.phase == OPEN and now >= b.till then
    turn(b, b.epoch + 1, HALF_OPEN, now + r.probe_timeout + BEGIN)
    b.holder, b.probes = from, math.max(r.probes, 1)
  elseif b.phase == HALF_OPEN and not is_caller(b.holder) then
    b.asks = math.min(b.asks + 1, MOST)
  end
end

-- Whether the caller, which sees nothing by itself, should check the upstream.
local function wants_check(b)
  if b.phase ~= SUSPECT or (b.checker[1] ~= '' and now < b.checker[2] + CHECK) then return false end
  for _, node in ipairs(b.nodes) do
    if node[6] ~= 0 and now < node[7] + CHECK then return false end
    if node[1] == from[1] and sum_of(node[5])[1] > 0 then return false end
  end
  b.checker = { from[1], now }
  return true
end

local function told_of(b, key)
  local left = 0
  if b.phase ~= CLOSED then left = math.max(b.till - now, 0) end
  return { key, b.epoch, b.revision, b.phase, left, b.trips, b.holder, b.probes, b.seen_by, b.cause }
end

-- The store's own epoch: up whenever it may have lost something.
local era, life_of, changes = 0, '', 0
do
  local kept = redis.call('GET', KEYS[2])
  if kept then
    era, life_of, changes = unpack(cmsgpack.unpack(kept))
  end
end
local keep_era = false
if era == 0 or life_of ~= run or known > era then
  era, life_of, keep_era = math.max(math.max(era, known) + 1, math.floor(now / 1000)), run, true
end

local answers, published = {}, {}
for i = 1, #asks do
  local ask = {}
  ask.key, ask.rule, ask.epoch, ask.phase, ask.left, ask.trips, ask.seq, ask.counts, ask.request_id, ask.wish, ask.lease,
    ask.opinion = unpack(asks[i])
  local b
  local kept = redis.call('GET', KEYS[i + 2])
  if kept then b = state_of(cmsgpack.unpack(kept)) else b = nothing() end
  local epoch, revision = b.epoch, b.revision
  if ask.rule[11] >= b.rule[11] then
    if ask.rule[4] ~= b.rule[4] then
      for _, node in ipairs(b.nodes) do node[5] = {} end
    end
    b.rule = ask.rule
  end
  local r = numbers(b.rule)
  b = adopt(b, r, era, ask)
  settle(b)
  probed(b, r, ask)
  local heard = hear(b, r, ask)
  wish(b, r, ask)
  local check = wants_check(b)
  local missed = b.phase == HALF_OPEN and is_caller(b.holder) and b.asks > 2 * live
  local all = { 0, 0, 0, 0 }
  for _, node in ipairs(b.nodes) do all = add(all, sum_of(node[5])) end
  local told = told_of(b, ask.key)
  answers[i] = { told, heard, check, missed, all }
  if b.epoch ~= epoch or b.revision ~= revision then
    changes, keep_era = changes + 1, true
    published[#published + 1] = told
  end
  local ttl = math.floor((r.window + r.probe_timeout + 11 * r.max_open_for + 60000000) / 1000)
  redis.call('SET', KEYS[i + 2], cmsgpack.pack(kept_of(b)), 'PX', ttl)
end
if keep_era then
  redis.call('SET', KEYS[2], cmsgpack.pack({ era, life_of, changes }), 'PX', ERA_TTL)
else
  redis.call('PEXPIRE', KEYS[2], ERA_TTL)
end
for _, told in ipairs(published) do
  local message = cmsgpack.pack(told)
  -- Who may not publish, or has no shards, is polled: no reason to fail.
  local sent = sharded and redis.pcall('SPUBLISH', channel, message) or nil
  if not sent or (type(sent) == 'table' and sent.err) then redis.pcall('PUBLISH', channel, message) end
end
return cmsgpack.pack({ era, changes, answers })
