-- After epoch.lua and share.lua: what ledger/permits.rs does.
--
-- kept   { version, limit, until when somebody wanted more, { node } }
-- node   { name, seq, permits, in use, granted, over at }

local LEASE = { 1500000, 1000000 }
local CALM = { 6000000, 5000000 }
local SHORT = 1000000

local function serve(kept, numbers, call)
  local limit_now, version, hold, learn_for, keep = unpack(numbers)
  local seq, has, used, waiting, unit, spare = unpack(call)
  local last_version, limit, short, nodes = unpack(kept or { 0, 0, 0, {} })
  local _, heard = find(nodes, seq)
  if heard then return { 1 } end
  if version >= last_version then last_version, limit = version, limit_now end
  local living = {}
  for i = 1, #nodes do
    if nodes[i][6] > now then living[#living + 1] = nodes[i] end
  end
  nodes = living
  local at = find(nodes, seq)
  if not at then
    at = #nodes + 1
    nodes[at] = { from, 0, 0, 0, 0, 0 }
  end
  local me = nodes[at]
  me[2], me[3], me[4], me[5] = seq, has, used, 0

  local all = set_aside(limit)
  local calm = has == used and waiting == 0 and spare == 0
  local good, horizon = unpack(calm and CALM or LEASE)
  local learns = learning(learn_for)
  local out, in_use = 0, 0
  for i = 1, #nodes do
    out, in_use = out + nodes[i][3] + nodes[i][5], in_use + nodes[i][4]
  end
  local instant, granted, wanted = 0, 0, false
  if learns == 0 then
    local free = max(0, all - out)
    instant = instant_of(waiting, unit, free)
    if instant < waiting then short = now + SHORT end
    wanted = short > now
    granted = instant
    if not wanted then granted = granted + min(spare, free - instant) end
    out = out + granted
  end
  me[5], me[6] = granted, now + good
  if has + granted > 0 then me[6] = me[6] + hold end
  return { 2, { instant, granted, max(0, all - out), out, in_use, wanted, good, horizon, learns } },
    { last_version, limit, short, nodes }, keep
end

return serve_all(declares, serve)
