-- Counts what an executor reports of a parcel.
-- KEYS: info pending delayed running results sizes settled chunks full keyed turns, then the bitmaps that the parcel's subtasks are in
-- ARGV: run, epoch, first, attempt, nanoseconds busy,
--   a letter each subtask: s(ucceeded) f(ailed) t(imed out) c(ancelled) d(elayed) r(eturned) g(oes on),
--   the head of the results, the results one behind the other, the length of each as four bytes,
--   how many that were returned travel together, deaths, then the delay in microseconds of each d
-- Reply: OK, counted, running, pending, control | GONE | CONFLICT, why
local there, ending, gnext, gown, fnext, fown, control, pending, running, busy, timed, delays, waiting, wbytes, succeeded,
  failed, timed_out, cancelled, used = unpack(redis.call('HMGET', KEYS[1], 'run', 'ending', 'gnext', 'gown', 'fnext', 'fown',
  'control', 'pending', 'running', 'busy', 'timed', 'delays', 'waiting', 'wbytes', 'succeeded', 'failed', 'timed_out',
  'cancelled', 'used'))
local no = refused(there, ARGV[1])
if no then
  return no
end
pending, running = num(pending), num(running)
if ending then
  return { OK, 0, txt(running), txt(pending), control }
end
local epoch, first, letters = ARGV[2], num(ARGV[3]), ARGV[6]
local count = #letters
local last = first + count - 1
local ours
if first < FIRST_FOLLOW_UP then
  ours = owns(gown, gnext, epoch, first, last)
else
  ours = owns(fown, fnext, epoch, first, last)
end
if count == 0 or not ours then
  return { CONFLICT, 'the reported subtasks are not of this load' }
end

-- Whether this is the attempt that runs; its bodies are needed where some are to run again.
local set = {}
local parcel = epoch .. ':' .. ARGV[3]
local value = redis.call('HGET', KEYS[4], parcel)
local current, bodies = false, {}
local place, deaths, key_here
if value then
  local shard, entry, with = read_running(value)
  local _, _, attempt, size, at, died, its_key = read_head(entry)
  place, deaths, key_here = shard .. '/' .. (with or ARGV[3]) .. ':', died, its_key
  current = txt(attempt) == ARGV[4] and txt(died) == ARGV[11] and size == count
  if current and string.find(letters, '[drg]') then
    for i = 1, count do
      bodies[i], at = read_body(entry, at)
    end
  end
end
if not current then
  pass_when_full(KEYS[1])
else
  redis.call('HDEL', KEYS[4], parcel) -- as good as `pass_when_full`
  running = running - count
  busy, timed = num(busy), num(timed)
  local _, ran = string.gsub(letters, '[^rg]', '') -- what was returned did not run, and what goes on is not done
  if ran > 0 then
    busy, timed = busy + num(ARGV[5]), timed + ran
  end
  if timed > 100000 then -- halving now and then lets the mean follow a change
    busy, timed = busy / 2, math.floor(timed / 2)
  end
  set = { 'running', txt(running), 'busy', txt(busy), 'timed', txt(timed), 'used', txt(num(used) + num(ARGV[5])) }
end

local counted, tally = 0, { s = 0, f = 0, t = 0, c = 0 }
local whole, keep, settled, unsettled = true, {}, {}, {}
local back, members, delay, going_on = {}, {}, 0, {}
local s = string.byte('s')
local time

local function settle(seq)
  local i = seq - first + 1
  if string.byte(letters, i) == s then
    tally.s = tally.s + 1
    if not current then
      settled[#settled + 1] = txt(seq)
    end
    keep[i] = true
    return true
  end
  local letter = string.sub(letters, i, i)
  if letter == 'd' then
    delay = delay + 1
  end
  whole = whole and current and tally[letter] ~= nil
  if not current then
    return false
  end
  if tally[letter] then
    tally[letter] = tally[letter] + 1
    keep[i] = true
    return true
  end
  if letter == 'r' then
    back[#back + 1] = seq
  elseif letter == 'g' then
    going_on[#going_on + 1] = name(num(epoch), seq)
    going_on[#going_on + 1] = place .. single(num(epoch), seq, num(ARGV[4]), deaths, bodies[i], key_here)
  else
    time = time or now()
    delays = num(delays) + 1
    members[#members + 1] = txt(time + num(ARGV[11 + delay]))
    members[#members + 1] = delayed_member(delays, single(num(epoch), seq, num(ARGV[4]) + 1, 0, bodies[i], key_here))
  end
  return false
end

local function known(seq)
  whole = false
  if string.byte(letters, seq - first + 1) == 100 then
    delay = delay + 1
  end
  if current then
    unsettled[#unsettled + 1] = txt(seq)
  end
end

local chunk, key = math.floor(first / CHUNK), 12
while chunk * CHUNK <= last do
  local from, to = math.max(first, chunk * CHUNK), math.min(last, chunk * CHUNK + CHUNK - 1)
  each_in_chunk(KEYS[key], KEYS[8], KEYS[9], chunk, from, to, settle, known)
  chunk, key = chunk + 1, key + 1
end
in_portions('SADD', KEYS[7], settled, 1)
in_portions('SREM', KEYS[7], unsettled, 1)

if #going_on > 0 then
  in_portions('HSET', KEYS[4], going_on, 2)
  running = running + #going_on / 2
  set[2] = txt(running)
end
if #back > 0 then
  local together, parcels = num(ARGV[10]), {}
  local from = 1
  while from <= #back do
    local to, these = from, {}
    repeat
      local body = bodies[back[to] - first + 1]
      these[#these + 1] = number(#body) .. body
      to = to + 1
    until to > #back or to - from >= together or back[to] ~= back[to - 1] + 1
    parcels[#parcels + 1] = parcel_of(num(epoch), back[from], num(ARGV[4]), deaths, to - from,
      table.concat(these), key_here)
    from = to
  end
  return_to_pending(KEYS[1], KEYS[2], KEYS[10], KEYS[11], parcels)
  pending = pending + #back
  set[#set + 1], set[#set + 2] = 'pending', txt(pending)
end
if #members > 0 then
  in_portions('ZADD', KEYS[3], members, 2)
  set[#set + 1], set[#set + 2] = 'delays', txt(delays)
end
if current and key_here then
  keyed_in(KEYS[1], KEYS[10], KEYS[11]).under_way(key_here, #going_on / 2 + #members / 2 - 1)
end
local function add(field, so_far, more)
  if more > 0 then
    set[#set + 1], set[#set + 2] = field, txt(num(so_far) + more)
    counted = counted + more
  end
end
add('succeeded', succeeded, tally.s)
add('failed', failed, tally.f)
add('timed_out', timed_out, tally.t)
add('cancelled', cancelled, tally.c)
if counted > 0 then
  local results = ARGV[8]
  if not whole then
    local kept, at = {}, 1
    for i = 1, count do
      local length = struct.unpack('<I4', ARGV[9], i * 4 - 3)
      if keep[i] then
        kept[#kept + 1] = string.sub(ARGV[8], at, at + length - 1)
      end
      at = at + length
    end
    results = table.concat(kept)
  end
  redis.call('RPUSH', KEYS[5], ARGV[7] .. results)
  redis.call('RPUSH', KEYS[6], counted .. ':' .. #results)
  set[#set + 1], set[#set + 2] = 'waiting', txt(num(waiting) + counted)
  set[#set + 1], set[#set + 2] = 'wbytes', txt(num(wbytes) + #results)
end
if #set > 0 then
  redis.call('HSET', KEYS[1], unpack(set))
end
return { OK, counted, txt(running), txt(pending), control }
