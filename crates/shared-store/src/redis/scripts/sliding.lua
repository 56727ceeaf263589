-- After epoch.lua: what ledger/sliding/books.rs does, number for number. See there for the why.
--
-- Kept of a count: { epoch, version, limit, spent, nodes }. `spent`: { { slot, tokens } … } by slot. Of a node:
-- { name, end, sure, pending, heard, seq, demand, reserve, since, instant }, sure and pending as spent, reserve -1 where
-- there is none, instant a slot and its tokens.

local SLOTS = 100
local GIVEN_UP = 20000
local SPARE = 0.05
local END, SURE, PENDING, HEARD, SEQ, DEMAND, RESERVE, SINCE, INSTANT = 2, 3, 4, 5, 6, 7, 8, 9, 10
local STANDBY = 0.3
local LITTLE = 2
local WORTH_A_LEASE = 5
local WORTH_KEEPING = 2
local MARGIN = 1 / 3

local function declares(call)
  return call[8] ~= nil
end

local function sum(pieces)
  local all = 0
  for i = 1, #pieces do all = all + pieces[i][2] end
  return all
end

local function out_at(node)
  return sum(node[SURE]) + sum(node[PENDING])
end

-- So many more in a slot.
local function add(slots, slot, tokens)
  for i = #slots, 1, -1 do
    local there = slots[i][1]
    if there == slot then
      slots[i][2] = slots[i][2] + tokens
      return
    elseif there < slot then
      table.insert(slots, i + 1, { slot, tokens })
      return
    end
  end
  table.insert(slots, 1, { slot, tokens })
end

local function within(spent, present)
  local kept = {}
  for i = 1, #spent do
    if spent[i][1] + SLOTS >= present then kept[#kept + 1] = spent[i] end
  end
  return kept
end

local function take_near(pieces, tokens)
  while tokens > 0 and pieces[1] do
    local part = math.min(pieces[1][2], tokens)
    pieces[1][2] = pieces[1][2] - part
    tokens = tokens - part
    if pieces[1][2] == 0 then table.remove(pieces, 1) end
  end
end

local function take_far(pieces, tokens)
  while tokens > 0 and #pieces > 0 do
    local last = pieces[#pieces]
    local part = math.min(last[2], tokens)
    last[2] = last[2] - part
    tokens = tokens - part
    if last[2] == 0 then table.remove(pieces) end
  end
end

local function by_slot(a, b)
  if a[1] ~= b[1] then return a[1] < b[1] end
  return a[2] < b[2]
end

-- Into the present: epoch, limit, what is older than the window, leases that have ended.
local function brought_to_now(count, numbers, slot_length)
  local limit, window, version = numbers[1], numbers[2], numbers[3]
  if not count or count[1] ~= epoch then count = { epoch, 0, 0, {}, {} } end
  if version >= count[2] then
    count[2], count[3] = version, limit
  end
  local present = math.floor(now / slot_length)
  local spent = within(count[4], present)
  local reserved_until = 0
  if born > 0 then reserved_until = born + learn(window) + window + slot_length end
  local nodes = {}
  for _, node in ipairs(count[5]) do
    if node[RESERVE] >= 0 then
      if now <= reserved_until then nodes[#nodes + 1] = node end
    elseif node[END] < now then
      local left = out_at(node)
      if left > 0 then add(spent, math.floor(node[END] / slot_length), left) end
    else
      nodes[#nodes + 1] = node
    end
  end
  count[4], count[5] = within(spent, present), nodes
  return count
end

local function serve(count, numbers, call)
  local limit, window, _, fast = unpack(numbers)
  local seq, ack, first, stream, demand, waiting, unit, declared, unused = unpack(call, 1, 9)
  unit = math.max(unit, 1)
  local slot_length = math.ceil(window / SLOTS)
  local ttl = math.ceil((window + life(window) + 1000000) / 1000)
  local present = math.floor(now / slot_length)
  count = brought_to_now(count, numbers, slot_length)
  local spent, nodes = count[4], count[5]

  local me, mine
  for i, node in ipairs(nodes) do
    if node[1] == from then me, mine = node, i end
  end
  local fresh = me == nil
  if fresh then
    me = { from, 0, {}, {}, 0, 0, 0, -1, 0, { 0, 0 } }
    nodes[#nodes + 1] = me
    mine = #nodes
  end
  if seq <= me[SEQ] then return { 1 }, count, ttl end

  local rest = learning(learn(window))
  if declared then
    me[SURE], me[PENDING], me[HEARD], me[SINCE], me[INSTANT] = {}, {}, 0, 0, { 0, 0 }
    if rest > 0 then
      me[RESERVE], me[SEQ] = declared[3], seq
      return { 2, { rest } }, count, ttl
    end
    for _, part in ipairs(declared[1]) do
      add(spent, math.floor(math.max(0, now - part[1]) / slot_length), part[2])
    end
    me[RESERVE] = -1
    if declared[2] > 0 then me[SURE] = { { present, declared[2] } } end
  elseif me[RESERVE] >= 0 or rest > 0 then
    return { 0 }, count, ttl
  elseif fresh then
    me[HEARD], me[SINCE] = first, seq
  end
  fresh = ack < me[SINCE]

  -- The last grant was seen, or is void.
  if ack == me[SEQ] then
    for _, piece in ipairs(me[PENDING]) do table.insert(me[SURE], piece) end
    table.sort(me[SURE], by_slot)
    -- A node that an older script wrote down has none.
    local given = me[INSTANT] or { 0, 0 }
    for i = #spent, 1, -1 do
      if spent[i][1] == given[1] then
        spent[i][2] = math.max(0, spent[i][2] - math.min(given[2], unused or 0))
        break
      end
    end
  end
  me[PENDING], me[INSTANT] = {}, { 0, 0 }

  -- What became of tokens. What was heard before is skipped.
  local index = first
  for _, told in ipairs(stream) do
    local age, tokens, kind = told[1], told[2], told[3]
    local from_index = math.max(index, me[HEARD])
    index = index + tokens
    local new = index - from_index
    if new > 0 and (kind == 1 or not fresh) then
      if kind == 0 or kind == 2 then
        take_near(me[SURE], new)
      elseif kind == 4 then
        take_far(me[SURE], new)
      end
      if kind == 0 or kind == 1 then
        add(spent, math.floor(math.max(0, now - age) / slot_length), new)
      end
    end
  end
  me[HEARD], me[SEQ], me[DEMAND] = math.max(me[HEARD], index), seq, demand

  -- How long a lease should suffice, and whose share is how great.
  local usable = count[3]
  if live > 0 and without > 0 then usable = math.max(0, usable - without * math.ceil(usable / live)) end
  local rate = usable / (window / 1e6)
  local demands = {}
  for _, node in ipairs(nodes) do
    if node[DEMAND] > 0 then demands[#demands + 1] = node[DEMAND] end
  end
  local asking, total = math.max(#demands, 1), 0
  for i = 1, #demands do total = total + demands[i] end
  local calls_aimed_at = fast and 0.0040 or 0.0055
  local least, most = math.min(50000, math.floor(window / 20)), math.min(800000, math.floor(window / 100) * 41)
  local horizon_us = asking / (calls_aimed_at * math.max(math.min(total, rate), 1e-9)) * 1e6
  horizon_us = math.floor(math.min(math.max(horizon_us, least), most))
  local horizon, slots = horizon_us / 1e6, math.floor(horizon_us / slot_length)
  table.sort(demands)
  local level, left, others_left = rate, rate, #demands
  for i = 1, #demands do
    if demands[i] * others_left >= left then
      level = left / others_left
      break
    end
    left = left - demands[i]
    others_left = others_left - 1
  end
  local cut = 0
  for i = 1, #demands do cut = cut + math.min(demands[i], level) end
  local part = 1
  if cut > 0 then part = math.min(demand, level) / cut end

  -- U and A, from the present slot on: index 1.
  local last, coming = present + slots, {}
  for _, node in ipairs(nodes) do
    for _, pieces in ipairs({ node[SURE], node[PENDING] }) do
      for _, piece in ipairs(pieces) do
        last = math.max(last, piece[1])
        local at = math.max(piece[1], present)
        coming[at] = (coming[at] or 0) + piece[2]
      end
    end
  end
  local load, fading, of = sum(spent), 1, {}
  for _, node in ipairs(nodes) do load = load + math.max(node[RESERVE], 0) end
  for slot = present, last do
    while spent[fading] and spent[fading][1] + SLOTS < slot do
      load = load - spent[fading][2]
      fading = fading + 1
    end
    load = load + (coming[slot] or 0)
    of[#of + 1] = load
  end
  local free, greatest = {}, -math.huge
  for i = #of, 1, -1 do
    greatest = math.max(greatest, of[i])
    free[i] = usable - greatest
  end

  local over = math.max(-free[1], 0)

  -- For requests that wait: spent at once, as late as they may be.
  local instant = math.min(waiting, math.max(free[1], 0))
  instant = instant - instant % unit
  if instant > 0 then
    local slot = math.floor((now + GIVEN_UP) / slot_length)
    add(spent, slot, instant)
    me[INSTANT] = { slot, instant }
    for i = 1, #of do
      of[i] = of[i] + instant
      free[i] = free[i] - instant
    end
  end

  -- What the node may get until each slot.
  local held, out, wanted, expected = out_at(me), 0, 0, 0
  local out_of = {}
  for i, node in ipairs(nodes) do
    out_of[i] = out_at(node)
    out = out + out_of[i]
    local uses = node[DEMAND] * horizon
    wanted = wanted + (1.2 * uses + 3.0 * math.sqrt(uses) - out_of[i])
    expected = expected + math.min(node[DEMAND], rate)
  end
  local plenty = free[1] >= wanted
  local spare = part * (free[slots + 1] + out - horizon * expected - SPARE * usable)
  local lean = demand * horizon >= (MARGIN * spare >= WORTH_A_LEASE and WORTH_KEEPING or WORTH_A_LEASE)
  local cumulative, granted, fair = {}, 0, false
  if lean then
    for slot = 0, slots do
      local there = math.max(free[slot + 1] + out, 0)
      local others = 0
      for i, node in ipairs(nodes) do
        if i ~= mine then
          local due = math.min(node[DEMAND], level) / cut * there
          others = others + math.max(math.min(node[DEMAND] * horizon, due) - out_of[i], 0)
        end
      end
      local upto = math.max(part * there - held, free[slot + 1] - others)
      local span = plenty and horizon or (slot + 2) * (slot_length / 1e6)
      local uses = demand * span
      local standby = plenty and STANDBY * spare - LITTLE or 0
      local margin = math.max(math.min(2.5 * math.sqrt(uses) + 0.05 * uses + 1.0, MARGIN * math.max(spare, 0)), standby)
      local want = uses + margin + (spare > 0 and 4 * waiting or 0) + 1.0 - held
      if slot == 0 and upto < want - 1 then fair = true end
      local tokens = math.floor(math.min(math.min(free[slot + 1], upto), want))
      if slot == 0 and held == 0 and tokens < unit and free[1] >= unit then tokens = unit end
      granted = math.max(granted, tokens)
      cumulative[slot + 1] = granted
    end
    -- Earlier where it costs nobody anything.
    local peak, low = 0, granted
    for i = #of, 1, -1 do
      peak = math.max(peak, of[i] + (cumulative[i] or granted))
      low = math.min(low, peak - of[i])
      if cumulative[i] then cumulative[i] = math.max(cumulative[i], low) end
    end
  end
  local pieces, waits, before = {}, {}, 0
  for i = 1, #cumulative do
    if cumulative[i] > before then
      local slot = present + i - 1
      pieces[#pieces + 1] = { slot, cumulative[i] - before }
      waits[#waits + 1] = { math.max(slot * slot_length - now, 0), cumulative[i] - before }
      before = cumulative[i]
    end
  end
  local at_once = pieces[1] and pieces[1][1] == present and pieces[1][2] or 0
  local kept = sum(me[SURE])

  -- When the next tokens are free, beyond what was granted.
  local total_granted, next = #cumulative > 0 and cumulative[#cumulative] or 0, nil
  for i = 1, #free do
    if free[i] - total_granted >= unit then
      next = i == 1 and 0 or math.max((present + i - 1) * slot_length - now, 0)
      break
    end
  end
  if not next then
    local then_free = free[#free]
    for i = 1, #spent do
      if spent[i][1] + SLOTS >= last then
        then_free = then_free + spent[i][2]
        if then_free - total_granted >= unit then
          next = math.max((spent[i][1] + SLOTS + 1) * slot_length - now, 0)
          break
        end
      end
    end
  end

  -- Never sooner than was said before: the node may not have had this reply, and not be bound by it.
  me[PENDING], me[END] = pieces, math.max(me[END], now + horizon_us + math.min(100000, 10 * slot_length))
  local lives = me[END] - now
  if me[DEMAND] <= 0 and #me[SURE] == 0 and #pieces == 0 then table.remove(nodes, mine) end
  local left_free = free[1] - total_granted
  return {
    2,
    {
      0,
      {
        waits,
        lives,
        horizon_us,
        asking,
        instant,
        free[1] - at_once >= unit and not fair,
        spare <= 0,
        next or window + slot_length,
        total_granted + kept > 0 or not lean,
        fresh,
        math.max(left_free, 0),
        lean,
        over,
      },
    },
  }, count, ttl
end

return serve_all(declares, serve)
