-- After epoch.lua and share.lua: what ledger/bucket.rs does.
--
-- kept   { epoch, version, rate, depth, level, when that was so, { { until, tokens of requests that wait } }, { node } }
-- node   { name, seq, demand, { rate, depth that it has }, { rate, depth that it was granted }, level granted, until,
--          heard to be back, heard to be overdrawn }

local WAIT = 25000
local RESERVE = 0.0625
local DUST = 1e-6
local LEAST = 4

local function greater(node)
  return max(node[4][1], node[5][1]), max(node[4][2], node[5][2])
end

-- What is free of rate and depth.
local function free_of(count, rate, depth)
  for i = 1, #count.nodes do
    local r, d = greater(count.nodes[i])
    rate, depth = rate - r, depth - d
  end
  for i = 1, #count.instants do depth = depth - count.instants[i][2] end
  return rate, depth
end

-- Fills the free part until now. What ends meanwhile gives its rate and depth back at its time.
local function advance(count, rate, depth)
  while true do
    local first = now
    for i = 1, #count.nodes do first = min(first, count.nodes[i][7]) end
    for i = 1, #count.instants do first = min(first, count.instants[i][1]) end
    first = max(first, count.at)
    local free_rate, free_depth = free_of(count, rate, depth)
    count.level = min(count.level + max(free_rate, 0) * (first - count.at) / 1e6, max(free_depth, 0))
    count.at = first
    if first >= now then return end
    local nodes, instants = {}, {}
    for i = 1, #count.nodes do
      if count.nodes[i][7] > first then nodes[#nodes + 1] = count.nodes[i] end
    end
    for i = 1, #count.instants do
      if count.instants[i][1] > first then instants[#instants + 1] = count.instants[i] end
    end
    count.nodes, count.instants = nodes, instants
  end
end

-- The part that a node may have, and what is put in it.
local function grant(count, me, plan, demand, level, rate, depth)
  local free_rate, free_depth = free_of(count, rate, depth)
  local had = me[4]
  local horizon = plan.horizon / 1e6
  local kept = min(rate * RESERVE, depth * RESERVE / 2 / horizon)
  local wanted_rate = min((rate - kept) * plan.share, 2 * demand)
  local wanted_depth = min(depth * plan.share * (1 - RESERVE), 2 * need(demand, plan.lease))
  local part, given = { 0, 0 }, 0
  if min(wanted_rate, demand) * horizon >= LEAST and wanted_depth >= LEAST then
    local r = min(wanted_rate, had[1] + free_rate)
    local d = max(0, floor(min(wanted_depth, had[2] + free_depth)))
    if r > 0 and d > 0 then
      part = { r, d }
      local room = d - level
      local fair = count.level * plan.share
      local needs = need(demand, plan.lease) - level
      local over = count.level - (free_depth - max(0, d - had[2]))
      given = max(min(min(max(min(fair, needs), over), room), count.level), 0)
    end
  end
  count.level = count.level - given
  me[5], me[6] = part, given
  return part, given
end

local function serve(kept, numbers, call)
  local rate_now, depth_now, version, lease, learn_for, keep = unpack(numbers)
  local seq, ack, demand, waiting, unit, part, level, back, over, spent = unpack(call)
  local count = { version = 0, rate = 0, depth = 0, level = 0, at = 0, instants = {}, nodes = {} }
  if kept and kept[1] == epoch then
    local _
    _, count.version, count.rate, count.depth, count.level, count.at, count.instants, count.nodes = unpack(kept)
  end
  local _, heard = find(count.nodes, seq)
  if heard then return { 1 } end
  local new = count.at == 0
  if version >= count.version then
    count.version, count.rate, count.depth = version, rate_now, depth_now
  end
  if new then count.level, count.at = count.depth, now end
  local depth, rate = set_aside(count.depth), count.rate
  if depth ~= count.depth then rate = count.rate * (live - min(without, live)) / live end
  advance(count, rate, depth)

  local learns = learning(learn_for)
  local at = find(count.nodes, seq)
  local known = at ~= nil
  if not known then
    at = #count.nodes + 1
    count.nodes[at] = { from, 0, 0, { 0, 0 }, { 0, 0 }, 0, 0, back[1], over[1] }
  end
  local me = count.nodes[at]
  local believed = known or learns > 0
  local void = ack == me[2] and 0 or me[6]
  local came_in, overdrawn = max(back[2] - me[8], 0), max(over[2] - me[9], 0)
  me[2], me[3], me[4] = seq, demand, believed and part or { 0, 0 }
  me[5], me[6] = { 0, 0 }, 0
  me[8], me[9] = me[8] + came_in, me[9] + overdrawn
  me[7] = max(me[7], now)
  count.level = count.level + void
  if known then count.level = count.level + came_in end
  count.level = count.level - overdrawn
  if not known and (new or learns > 0) then count.level = max(count.level - spent - me[4][2], 0) end

  local demands = {}
  for i = 1, #count.nodes do
    if count.nodes[i][3] > 0 then demands[#demands + 1] = count.nodes[i][3] end
  end
  local plan = plan_of(demands, demand, count.rate, lease)
  local good, instant, gets, given = plan.lease, 0, { 0, 0 }, 0
  if learns > 0 then
    good = good + learns
    gets = me[4]
    me[5] = gets
  else
    instant = instant_of(waiting, unit, max(0, floor(count.level + DUST)))
    if instant > 0 then
      count.level = count.level - instant
      count.instants[#count.instants + 1] = { now + WAIT, instant }
    end
    gets, given = grant(count, me, plan, demand, level, rate, depth)
  end
  me[7] = max(me[7], now + good)
  local free_rate, free_depth = free_of(count, rate, depth)
  free_rate, free_depth = max(free_rate, 0), max(free_depth, 0)
  count.level = min(count.level, free_depth)
  local crowded = #count.instants > 0 and count.instants[#count.instants][1] - now or 0
  local comes = free_rate * crowded / 1e6
  local lost = min(max(count.level + comes - free_depth, 0), comes)
  local stall = lost > 0 and floor(lost / free_rate * 1e6) + 1 or 0
  local out = 0
  for i = 1, #count.nodes do
    local _, d = greater(count.nodes[i])
    out = out + d
  end
  return { 2, { instant, gets, given, good, plan.horizon, plan.nodes, { count.level, free_rate }, stall, out, learns } },
    { epoch, count.version, count.rate, count.depth, count.level, count.at, count.instants, count.nodes }, keep
end

return serve_all(declares, serve)
