-- After epoch.lua and share.lua: what ledger/window.rs does.
--
-- kept   { version, limit, { { window, used by the dead } }, { node } }
-- node   { name, seq, demand, believed until, { { window, used, out } } }

local SECOND = 1000000

-- What a clock of the zone shows (where it was turned back, the last of what it had shown before, until it shows more),
-- and when it first shows something, in seconds.
local function shown(zone, utc)
  local turns = zone[2] / SECOND
  if zone[2] > 0 and utc >= turns then return max(utc + zone[3], turns + zone[1] - 1) end
  return utc + zone[1]
end

local function first_shown(zone, shown_then)
  local before = shown_then - zone[1]
  local turns = zone[2] / SECOND
  if zone[2] > 0 and before >= turns then return max(turns, shown_then - zone[3]) end
  return before
end

-- Year and month of a day since 1970-01-01, and the first day of a month.
local function civil_month(day)
  day = day + 719468
  local era = floor(day / 146097)
  local of_era = day - era * 146097
  local year = floor((of_era - floor(of_era / 1460) + floor(of_era / 36524) - floor(of_era / 146096)) / 365)
  local of_year = of_era - (365 * year + floor(year / 4) - floor(year / 100))
  local from_march = floor((5 * of_year + 2) / 153)
  local month = from_march < 10 and from_march + 3 or from_march - 9
  return year + era * 400 + (month <= 2 and 1 or 0), month
end

local function first_day(year, month)
  if month <= 2 then year = year - 1 end
  local era = floor(year / 400)
  local of_era = year - era * 400
  local from_march = month > 2 and month - 3 or month + 9
  local of_year = floor((153 * from_march + 2) / 5)
  return era * 146097 + of_era * 365 + floor(of_era / 4) - floor(of_era / 100) + of_year - 719468
end

-- The window that a microsecond is in: its first one, and the first one after it.
local function window_at(length, zone, micros)
  if length > 0 and zone[1] == 0 and zone[2] == 0 then
    local start = micros - math.fmod(micros, length)
    return start, start + length
  end
  local clock = shown(zone, floor(micros / SECOND))
  local begins, ends
  if length > 0 then
    local seconds = length / SECOND
    begins = floor(clock / seconds) * seconds
    ends = begins + seconds
  else
    local year, month = civil_month(floor(clock / 86400))
    begins = first_day(year, month) * 86400
    if month == 12 then year, month = year + 1, 0 end
    ends = first_day(year, month + 1) * 86400
  end
  return first_shown(zone, begins) * SECOND, first_shown(zone, ends) * SECOND
end

-- What a process has of a window: { window, used, out }.
local function account(node, start)
  local accounts = node[5]
  for i = 1, #accounts do
    if accounts[i][1] == start then return accounts[i] end
  end
  local new = { start, 0, 0 }
  accounts[#accounts + 1] = new
  return new
end

-- What is used in a window, and what is out.
local function sums(gone, nodes, start)
  local used, out = 0, 0
  for i = 1, #gone do
    if gone[i][1] == start then used = used + gone[i][2] end
  end
  for i = 1, #nodes do
    local accounts = nodes[i][5]
    for j = 1, #accounts do
      if accounts[j][1] == start then used, out = used + accounts[j][2], out + accounts[j][3] end
    end
  end
  return used, out
end

-- Those of a list that are of the present window or a later one.
local function lasting(list, present)
  local left = {}
  for i = 1, #list do
    if list[i][1] >= present then left[#left + 1] = list[i] end
  end
  return left
end

-- The entry of the process that calls, made where there is none: an earlier process of the same node is no more, and
-- what it held counts as used.
local function enter(gone, nodes, at, seq)
  if at then
    nodes[at][2] = seq
    return nodes[at]
  end
  for i = 1, #nodes do
    if string.sub(nodes[i][1], 1, 16) == string.sub(from, 1, 16) then
      local accounts = table.remove(nodes, i)[5]
      for j = 1, #accounts do
        local dead, found = accounts[j], false
        for k = 1, #gone do
          if gone[k][1] == dead[1] then
            gone[k][2], found = gone[k][2] + dead[2] + dead[3], true
            break
          end
        end
        if not found then gone[#gone + 1] = { dead[1], dead[2] + dead[3] } end
      end
      break
    end
  end
  local new = { from, seq, 0, 0, {} }
  nodes[#nodes + 1] = new
  return new
end

local function serve(kept, numbers, call)
  local limit_now, version, length, zone, pace, lease, learn_for, keep = unpack(numbers)
  local seq, demand, waiting, unit, told = unpack(call)
  local last_version, limit, gone, nodes = unpack(kept or { 0, 0, {}, {} })
  local at, heard = find(nodes, seq)
  if heard then return { 1 } end
  if version >= last_version then last_version, limit = version, limit_now end

  local start, ends = window_at(length, zone, now)
  local next_start, next_ends = window_at(length, zone, ends)
  gone = lasting(gone, start)
  for i = 1, #nodes do nodes[i][5] = lasting(nodes[i][5], start) end
  local me = enter(gone, nodes, at, seq)
  for i = 1, #me[5] do me[5][i][3] = 0 end
  for i = 1, #told do
    local name = told[i][1] == 0 and start or told[i][1]
    local of = window_at(length, zone, name)
    if of == start or of == next_start then
      local mine = account(me, of)
      mine[2], mine[3] = max(mine[2], told[i][2]), told[i][3]
    end
  end
  me[3], me[4] = demand, now
  local demands = {}
  for i = 1, #nodes do
    if nodes[i][3] > 0 and nodes[i][4] >= now then demands[#demands + 1] = nodes[i][3] end
  end
  local plan = plan_of(demands, demand, pace, lease)
  me[4] = now + 2 * plan.lease

  local all = set_aside(limit)
  local closes = ends - now
  local learns, good = learning(learn_for), plan.lease
  local used, out = sums(gone, nodes, start)
  local free = max(0, all - used - out)
  local instant, granted = 0, 0
  if learns > 0 then
    good = good + learns
  else
    local mine = account(me, start)
    instant = instant_of(waiting, unit, free)
    free = free - instant
    local more = 0
    if worth(demand, plan) then
      local wanted = min(need(demand, plan.lease), floor((free + out) * plan.share))
      more = min(max(0, wanted - mine[3]), free)
    end
    free = free - more
    granted = instant + more
    mine[3] = mine[3] + granted
  end
  local present = { start, max(0, start - now), closes, granted, free, used }

  used, out = sums(gone, nodes, next_start)
  free = max(0, all - used - out)
  granted = 0
  if learns == 0 and closes < plan.lease and worth(demand, plan) then
    local mine = account(me, next_start)
    local wanted = min(need(demand, plan.lease - closes), floor((free + out) * plan.share))
    granted = min(max(0, wanted - mine[3]), free)
    mine[3] = mine[3] + granted
    free = free - granted
  end
  local following = { next_start, max(0, next_start - now), next_ends - now, granted, free, used }
  return { 2, { instant, present, following, good, plan.horizon, plan.nodes, learns } },
    { last_version, limit, gone, nodes }, keep
end

return serve_all(declares, serve)
