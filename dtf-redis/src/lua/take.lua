-- Moves pending parcels to running, one for each place; what is due becomes pending first. A parcel that has more subtasks than
-- are wanted is split.
-- KEYS: info pending delayed running settled keyed turns
-- ARGV: run, token, most results waiting, most bytes of them, most that become due, most subtasks, most parcels, most lanes to
--   name, lanes, then the places: `shard` or, where it serves lanes, `shard/lane,lane`
-- Reply: OK, pending, those of them that were lost with executors, microseconds until the next is due or nil, control, used,
--   running, busy, timed, whether the generator has given everything (1 or 0), whether something without a key can go (1 or 0), the lanes in line as `lane,lane` or `*` for all, the shards of the
--   parcels as `shard,shard` unless they are those named first, the bytes of the results waiting, then the parcels | GONE | FENCED, token
local there, seen, control, pending, running, waiting, wbytes, used, busy, timed, lost, finished, bytes = unpack(redis.call('HMGET', KEYS[1],
  'run', 'stoken', 'control', 'pending', 'running', 'waiting', 'wbytes', 'used', 'busy', 'timed', 'lost', 'finished', 'pbytes'))
local no = refused(there, ARGV[1], seen, ARGV[2])
if no then
  return no
end
pass_when_full(KEYS[1])
pending, running = num(pending), num(running)
local before_it = pending
bytes = num(bytes)
local keyed = keyed_in(KEYS[1], KEYS[6], KEYS[7])

local time = now()
local due = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', txt(time), 'LIMIT', 0, ARGV[5])
if #due > 0 then
  redis.call('ZREMRANGEBYRANK', KEYS[3], 0, #due - 1)
  for i, member in ipairs(due) do
    due[i] = string.sub(member, 9)
  end
  return_to_pending(KEYS[1], KEYS[2], KEYS[6], KEYS[7], due)
  for _, entry in ipairs(due) do
    local key = key_of(entry)
    if key then
      keyed.under_way(key, -1)
    end
  end
  pending = pending + #due
end

local PLACE = 9 -- the one before the first
local reply = { OK, 0, 0, false, control, used or 0, 0, busy or 0, timed or 0, finished and 1 or 0, 0, '', '', wbytes or 0 }
local wanted, most = math.min(#ARGV - PLACE, num(ARGV[7])), num(ARGV[6])
local may_take = control == '0' and num(waiting) < num(ARGV[3]) and num(wbytes) < num(ARGV[4])
if not may_take then
  wanted = 0
end
local given, fields, taken = 0, {}, 0
local settled = redis.call('EXISTS', KEYS[5]) == 1

local function is_settled(first, count)
  -- A late success of an earlier attempt may have settled it meanwhile.
  return settled and count == 1 and redis.call('SREM', KEYS[5], txt(first)) == 1
end

local function give(place, entry, epoch, first, count)
  given, taken = given + 1, taken + count
  local shard = string.match(ARGV[PLACE + place], '^%d+')
  reply[#reply + 1] = entry
  fields[#fields + 1] = name(epoch, first)
  fields[#fields + 1] = shard .. ':' .. entry
  return shard
end

-- From the line of those without a key, as many at once as there are places.
local function take_in_order()
  while given < wanted and taken < most do
    local entries = redis.call('LPOP', KEYS[2], math.min(wanted - given, most - taken))
    if not entries then
      break
    end
    local left -- where the entries begin that are not taken
    for i, entry in ipairs(entries) do
      if taken == most then
        left = i
        break
      end
      local epoch, first, attempt, count, at, deaths = read_head(entry)
      pending, bytes = pending - count, bytes - #entry
      if not is_settled(first, count) then
        local fitting = most - taken
        if count > fitting then
          entry, entries[i] = split(entry, epoch, first, attempt, deaths, count, at, fitting)
          pending, bytes = pending + count - fitting, bytes + #entries[i]
          count, left = fitting, i
        end
        give(given + 1, entry, epoch, first, count)
        if left then
          break
        end
      end
    end
    if left then
      local back = {}
      for i = left, #entries do
        back[#back + 1] = entries[i]
      end
      to_front(KEYS[2], back)
    end
  end
end

-- Takes the parcel whose turn it is at a place. Says whether there was one, and to which shard it goes, unless it was settled.
local function take_for(place)
  local entry = redis.call('LINDEX', KEYS[2], 0)
  local key, member = keyed.first(string.match(ARGV[PLACE + place], '/(.*)$') or '')
  if not entry and not key then
    return false
  end
  if key and entry then
    local _, without = read_head(entry)
    local _, with = read_head(string.sub(member, 18))
    key = before(with, without) and key
  end
  if key then
    entry = string.sub(member, 18)
    keyed.remove(member)
  else
    redis.call('LPOP', KEYS[2])
  end
  local epoch, first, attempt, count, at, deaths = read_head(entry)
  pending, bytes = pending - count, bytes - #entry
  if is_settled(first, count) then
    if key then
      keyed.settled(key)
    end
    return true
  end
  local fitting, rest = math.min(count, most - taken), nil
  if fitting < count then
    entry, rest = split(entry, epoch, first, attempt, deaths, count, at, fitting, key)
    pending, bytes = pending + count - fitting, bytes + #rest
  end
  if key then
    keyed.given(key, first + fitting, rest)
  elseif rest then
    redis.call('LPUSH', KEYS[2], rest)
  end
  return true, give(place, entry, epoch, first, fitting)
end

local function take_by_place()
  local shards = {}
  for place = 1, #ARGV - PLACE do
    local found, shard = given < wanted and taken < most, nil
    while found and not shard do
      found, shard = take_for(place)
    end
    shards[#shards + 1] = shard
  end
  reply[13] = table.concat(shards, ',')
end

if redis.call('EXISTS', KEYS[7]) == 0 then
  take_in_order()
  reply[11] = may_take and pending > 0 and 1 or 0
else
  keyed.set_lanes(ARGV[9])
  take_by_place()
  if may_take then
    reply[11] = redis.call('EXISTS', KEYS[2])
    reply[12] = keyed.lanes_in_line(num(ARGV[8]), num(ARGV[9]))
  end
end
in_portions('HSET', KEYS[4], fields, 2)
if pending ~= before_it or taken > 0 then
  redis.call('HSET', KEYS[1], 'pending', txt(pending), 'running', txt(running + taken), 'pbytes', txt(math.max(bytes, 0)))
end
if lost then
  -- What became settled meanwhile was not given out, so this may be too many.
  lost = math.min(math.max(num(lost) - taken, 0), pending)
  if lost > 0 then
    redis.call('HSET', KEYS[1], 'lost', txt(lost))
    reply[3] = txt(lost)
  else
    redis.call('HDEL', KEYS[1], 'lost')
  end
end
reply[2], reply[7] = txt(pending), txt(running + taken)
local next = redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')
if next[2] then
  reply[4] = txt(math.max(num(next[2]) - time, 0))
end
return reply
