-- Which subtasks are in the books: a bit each in bitmaps of 65,536, the lowest number in the lowest bit of the first byte.
-- A bitmap that is full is deleted; ranges of full ones are members of a sorted set: first number, scored by the one behind
-- the last.
local CHUNK = 65536
local BIT = { [0] = 1, 2, 4, 8, 16, 32, 64, 128 }

local function is_full(full, chunk)
  local range = redis.call('ZRANGEBYSCORE', full, '(' .. txt(chunk), '+inf', 'LIMIT', 0, 1)
  return range[1] ~= nil and num(range[1]) <= chunk
end

local function add_full(full, chunk)
  local first, behind = chunk, chunk + 1
  local before = redis.call('ZRANGEBYSCORE', full, txt(chunk), txt(chunk))
  if before[1] then
    first = num(before[1])
  end
  local after = redis.call('ZSCORE', full, txt(behind))
  if after then
    redis.call('ZREM', full, txt(behind))
    behind = num(after)
  end
  redis.call('ZADD', full, txt(behind), txt(first))
end

-- Calls `settle(seq)` for each subtask from `from` to `to`, all of one chunk, that is not in the books, and `known(seq)` for
-- each that is. Those for which `settle` says true are in the books from then on.
local function each_in_chunk(key, chunks, full, chunk, from, to, settle, known)
  local field = txt(chunk)
  local count = redis.call('HGET', chunks, field)
  if not count and is_full(full, chunk) then
    for seq = from, to do
      known(seq)
    end
    return
  end
  local base = chunk * CHUNK
  local low, high = math.floor((from - base) / 8), math.floor((to - base) / 8)
  local bits = count and redis.call('GETRANGE', key, low, high) or ''
  local bytes, added = {}, 0
  local seq = from
  for at = low, high do
    local byte = string.byte(bits, at - low + 1) or 0
    local last = math.min(to, base + at * 8 + 7)
    while seq <= last do
      local bit = BIT[seq % 8]
      if byte % (2 * bit) >= bit then
        known(seq)
      elseif settle(seq) then
        byte = byte + bit
        added = added + 1
      end
      seq = seq + 1
    end
    bytes[#bytes + 1] = string.char(byte)
  end
  if added == 0 then
    return
  end
  if num(count) + added == CHUNK then
    redis.call('DEL', key)
    redis.call('HDEL', chunks, field)
    add_full(full, chunk)
  else
    redis.call('SETRANGE', key, low, table.concat(bytes))
    redis.call('HSET', chunks, field, txt(num(count) + added))
  end
end
