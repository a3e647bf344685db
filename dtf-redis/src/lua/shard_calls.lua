-- Calls on shards, one behind the other, each by itself.
-- KEYS: fence ready claimed shipped, of one shard after the other
-- ARGV: of each call: the number of its shard's first key, its letter, how many arguments it has, and those:
--   h, holds:        token, window, kinds of task, credit of the process
--   c, claims:       as `h`, then the most, how many shipments the holder was given, and how many of its acknowledgements it
--                    knows of
--   r, claims and repairs: as `h`, then the most, and the names of what is in hand
--   a, acknowledges: token, then names
--   s, ships:        name and shipment, one pair after the other
-- Reply: OK, then of each call an array: what it says below | FENCED, token
pass_when_full(KEYS[1])

-- Raises the token and sets what the holder takes. Says how many shipments were given and acknowledged, or why it is refused.
local function take_up(fence, at)
  local seen, window, kinds, credit, given, acked =
    unpack(redis.call('HMGET', fence, 'token', 'window', 'kinds', 'credit', 'given', 'acked'))
  if seen and ARGV[at] < seen then
    return nil, nil, { FENCED, seen }
  end
  if seen ~= ARGV[at] or window ~= ARGV[at + 1] or kinds ~= ARGV[at + 2] or credit ~= ARGV[at + 3] then
    redis.call('HSET', fence, 'token', ARGV[at], 'window', ARGV[at + 1], 'kinds', ARGV[at + 2], 'credit', ARGV[at + 3])
  end
  return num(given), num(acked)
end

local function add_shipments(reply, shipped, names)
  for from = 1, #names, 6000 do
    local to = math.min(from + 5999, #names)
    for _, shipment in ipairs(redis.call('HMGET', shipped, unpack(names, from, to))) do
      reply[#reply + 1] = shipment
    end
  end
end

-- Claims what is ready. Says how many shipments were given by then.
local function claim_ready(fence, ready, claimed, shipped, most, given, reply)
  local names = most > 0 and redis.call('LPOP', ready, most)
  if not names then
    return given
  end
  in_portions('RPUSH', claimed, names, 1)
  redis.call('HINCRBY', fence, 'given', #names)
  add_shipments(reply, shipped, names)
  return given + #names
end

local calls = {}

-- OK, given, acknowledged, then all shipments that are claimed
function calls.h(fence, _, claimed, shipped, at)
  local given, acked, no = take_up(fence, at)
  if no then
    return no
  end
  local reply = { OK, given, acked }
  add_shipments(reply, shipped, redis.call('LRANGE', claimed, 0, -1))
  return reply
end

-- OK, given, acknowledged, then the shipments | MORE, where an answer or the last writes were lost: then `r` is to be called
function calls.c(fence, ready, claimed, shipped, at)
  local given, acked, no = take_up(fence, at)
  if no then
    return no
  end
  if given ~= num(ARGV[at + 5]) or acked < num(ARGV[at + 6]) then
    return { MORE }
  end
  local reply = { OK, 0, acked }
  reply[2] = claim_ready(fence, ready, claimed, shipped, num(ARGV[at + 4]), given, reply)
  return reply
end

-- OK, given, acknowledged, then the shipments
function calls.r(fence, ready, claimed, shipped, at, last)
  local given, acked, no = take_up(fence, at)
  if no then
    return no
  end
  local most, in_hand, lost = num(ARGV[at + 4]), {}, {}
  for i = at + 5, last do
    in_hand[ARGV[i]] = true
  end
  for _, name in ipairs(redis.call('LRANGE', claimed, 0, -1)) do
    if #lost < most and not in_hand[name] then
      lost[#lost + 1] = name
    end
  end
  local reply = { OK, 0, acked }
  add_shipments(reply, shipped, lost)
  reply[2] = claim_ready(fence, ready, claimed, shipped, most - #lost, given, reply)
  return reply
end

-- OK, acknowledged
function calls.a(fence, _, claimed, shipped, at, last)
  local seen, acked = unpack(redis.call('HMGET', fence, 'token', 'acked'))
  if seen and ARGV[at] < seen then
    return { FENCED, seen }
  end
  local removed = 0
  for i = at + 1, last do
    if redis.call('LREM', claimed, 1, ARGV[i]) == 1 then
      redis.call('HDEL', shipped, ARGV[i])
      removed = removed + 1
    end
  end
  acked = num(acked) + removed
  if removed > 0 then
    redis.call('HINCRBY', fence, 'used', -removed)
    redis.call('HSET', fence, 'acked', txt(acked))
  end
  return { OK, acked }
end

-- OK, how many were put. What waits there already counts as put; what is claimed ends it: its acknowledgement may be on its
-- way, and would take the new shipment along.
function calls.s(fence, ready, claimed, shipped, at, last)
  local window, used = unpack(redis.call('HMGET', fence, 'window', 'used'))
  window, used = num(window), num(used)
  local put, added = 0, 0
  for i = at, last, 2 do
    if redis.call('HEXISTS', shipped, ARGV[i]) == 0 then
      if used + added >= window then
        break
      end
      redis.call('HSET', shipped, ARGV[i], ARGV[i + 1])
      redis.call('RPUSH', ready, ARGV[i])
      added = added + 1
    elseif redis.call('LPOS', claimed, ARGV[i]) then
      break
    end
    put = put + 1
  end
  if added > 0 then
    redis.call('HINCRBY', fence, 'used', added)
  end
  return { OK, put }
end

local reply, at = { OK }, 1
while at <= #ARGV do
  local key, call, count = num(ARGV[at]), ARGV[at + 1], num(ARGV[at + 2])
  local first = at + 3
  reply[#reply + 1] = calls[call](KEYS[key], KEYS[key + 1], KEYS[key + 2], KEYS[key + 3], first, first + count - 1)
  at = first + count
end
return reply
