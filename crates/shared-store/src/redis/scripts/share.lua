-- After epoch.lua, in front of the scripts of windows, buckets and places: what ledger/share.rs does. Numbers with a
-- fraction are computed with the same operations in the same order.

local floor, sqrt, min, max = math.floor, math.sqrt, math.min, math.max

-- What a node may have that is asked for `mine`, of `demands`, which together get at most `rate`: how many ask, its
-- share, when it should call again, how long what it has is good.
local function plan_of(demands, mine, rate, lease)
  local all = 0
  for i = 1, #demands do all = all + demands[i] end
  local each = max(#demands, 1)
  local horizon = each / (0.0055 * max(min(all, rate), 1e-9)) * 1e6
  horizon = min(max(floor(min(horizon, 1e12)), 50000), lease[1])
  return {
    nodes = each,
    share = all > 0 and mine / all or 1,
    horizon = horizon,
    lease = horizon + lease[2],
  }
end

-- What is needed for so many microseconds, with what chance adds to it.
local function need(demand, micros)
  local mean = demand * micros / 1e6
  return floor(mean + 2.5 * sqrt(mean) + 1)
end

-- What requests that wait get of what is free.
local function instant_of(waiting, unit, free)
  local given = min(waiting, free)
  if given < unit then return 0 end
  return given
end

-- Whether a lease is worth its call.
local function worth(demand, plan)
  return demand * plan.horizon / 1e6 >= 4
end

-- The limit, less the shares of nodes that do not reach the store.
local function set_aside(limit)
  if live == 0 or without == 0 then return limit end
  local others = live - min(without, live)
  local rest = math.fmod(limit, live)
  return (limit - rest) / live * others + floor(rest * others / live)
end

-- The entry of the process that calls, among nodes whose first member is the name and whose second is the number of the
-- last call; and whether this call, or a later one, was here before.
local function find(nodes, seq)
  for i = 1, #nodes do
    if nodes[i][1] == from then return i, seq <= nodes[i][2] end
  end
  return nil, false
end

local function declares(_)
  return true
end
