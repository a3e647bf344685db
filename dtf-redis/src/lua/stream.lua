-- The numbers that a generator or collector has emitted: the next one, and which load owns which, as
-- `epoch:first epoch:first …`. A load that emitted nothing owns nothing.

-- Draws an epoch for a load, from a random number, so that a store that has lost its last writes draws no epoch again.
local function draw_epoch(nonce, ...)
  local epoch = tonumber(nonce)
  local taken = ' ' .. table.concat({ ... }, ' ') .. ' '
  while epoch == 0 or string.find(taken, ' ' .. txt(epoch) .. ':', 1, true) do
    epoch = (epoch + 1) % 4294967296
  end
  return txt(epoch)
end

-- The owners, with a load that begins at `next` behind them.
local function with_load(owners, epoch, next)
  local kept = string.gsub(owners or '', ' ?%d+:' .. next .. '$', '')
  if kept == '' then
    return epoch .. ':' .. next
  end
  return kept .. ' ' .. epoch .. ':' .. next
end

-- Whether the load with this epoch emitted all numbers from `first` to `last`.
local function owns(owners, next, epoch, first, last)
  local owner, ends = nil, num(next)
  for load, from in string.gmatch(owners or '', '(%d+):(%d+)') do
    from = tonumber(from)
    if from <= first then
      owner = load
    elseif from < ends then
      ends = from
    end
  end
  return owner == epoch and last < ends
end

-- The epoch of the latest load.
local function latest(owners)
  return string.match(owners or '', '(%d+):%d+$')
end
