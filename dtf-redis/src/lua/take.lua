-- Moves the first pending parcels to running, one for each shard named; what is due becomes pending first. A parcel that has
-- more subtasks than are wanted is split.
-- KEYS: info pending delayed running settled
-- ARGV: run, token, most results waiting, most bytes of them, most that become due, most subtasks, then the shards
-- Reply: OK, pending, microseconds until the next is due or nil, control, used, running, busy, timed, then the parcels | GONE | FENCED, token
local there, seen, control, pending, running, waiting, wbytes, used, busy, timed = unpack(redis.call('HMGET', KEYS[1],
  'run', 'stoken', 'control', 'pending', 'running', 'waiting', 'wbytes', 'used', 'busy', 'timed'))
local no = refused(there, ARGV[1], seen, ARGV[2])
if no then
  return no
end
pass_when_full(KEYS[1])
pending, running = num(pending), num(running)
local before = pending

local time = now()
local due = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', txt(time), 'LIMIT', 0, ARGV[5])
if #due > 0 then
  redis.call('ZREMRANGEBYRANK', KEYS[3], 0, #due - 1)
  for i, member in ipairs(due) do
    due[i] = string.sub(member, 9)
  end
  to_front(KEYS[2], due)
  pending = pending + #due
end

local reply = { OK, 0, false, control, used or 0, 0, busy or 0, timed or 0 }
local wanted, most = #ARGV - 6, num(ARGV[6])
if control ~= '0' or num(waiting) >= num(ARGV[3]) or num(wbytes) >= num(ARGV[4]) then
  wanted = 0
end
local given, fields, taken = 0, {}, 0
local settled = redis.call('EXISTS', KEYS[5]) == 1
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
    pending = pending - count
    -- A late success of an earlier attempt may have settled it meanwhile.
    if not (settled and count == 1 and redis.call('SREM', KEYS[5], txt(first)) == 1) then
      local fitting = most - taken
      if count > fitting then
        entry, entries[i] = split(entry, epoch, first, attempt, deaths, count, at, fitting)
        pending = pending + count - fitting
        count, left = fitting, i
      end
      given = given + 1
      taken = taken + count
      reply[#reply + 1] = entry
      fields[#fields + 1] = name(epoch, first)
      fields[#fields + 1] = ARGV[6 + given] .. ':' .. entry
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
in_portions('HSET', KEYS[4], fields, 2)
if pending ~= before or taken > 0 then
  redis.call('HSET', KEYS[1], 'pending', txt(pending), 'running', txt(running + taken))
end
reply[2], reply[6] = txt(pending), txt(running + taken)
local next = redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')
if next[2] then
  reply[3] = txt(math.max(num(next[2]) - time, 0))
end
return reply
