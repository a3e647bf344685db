-- Counts what executors report of parcels, one report after the other.
-- KEYS: info pending delayed running results sizes settled chunks full keyed turns, then the bitmaps that the parcels' subtasks are in
-- ARGV: run, then of each report: epoch, first, attempt, nanoseconds busy,
--   a letter each subtask: s(ucceeded) f(ailed) t(imed out) c(ancelled) d(elayed) r(eturned) g(oes on),
--   the head of the results, the results one behind the other, the length of each as four bytes,
--   how many that were returned travel together, deaths, the number of its first bitmap among the keys, how many delays, then
--   the delay in microseconds of each d
-- Reply: OK, running, pending, control, then of each report how many were counted, or why it is a conflict | GONE
local there, ending, gnext, gown, fnext, fown, control, pending, running, busy, timed, delays, waiting, wbytes, succeeded,
  failed, timed_out, cancelled, used, bytes = unpack(redis.call('HMGET', KEYS[1], 'run', 'ending', 'gnext', 'gown', 'fnext', 'fown',
  'control', 'pending', 'running', 'busy', 'timed', 'delays', 'waiting', 'wbytes', 'succeeded', 'failed', 'timed_out',
  'cancelled', 'used', 'pbytes'))
local no = refused(there, ARGV[1])
if no then
  return no
end
local ARGS = 12 -- of a report, before its delays
pending, running = num(pending), num(running)
local reply = { OK, txt(running), txt(pending), control }
if ending then
  local at = 2
  while at <= #ARGV do
    reply[#reply + 1] = 0
    at = at + ARGS + num(ARGV[at + ARGS - 1])
  end
  return reply
end
pass_when_full(KEYS[1])
busy, timed, delays, waiting, wbytes, used = num(busy), num(timed), num(delays), num(waiting), num(wbytes), num(used)

-- What has changed, and is written when all reports are counted.
local tally = { s = 0, f = 0, t = 0, c = 0 }
local back, members, going_on, ended = {}, {}, {}, {}
local settled, unsettled, results, sizes = {}, {}, {}, {}
local ran, returned, time, keyed, more_bytes = false, 0, nil, nil, 0

-- Counts the report whose arguments begin at `at`. Says how many subtasks were put into the books, or why none were.
local function count_report(at)
  local epoch, first, letters = ARGV[at], num(ARGV[at + 1]), ARGV[at + 4]
  local attempt, count = ARGV[at + 2], #letters
  local last = first + count - 1
  local ours
  if first < FIRST_FOLLOW_UP then
    ours = owns(gown, gnext, epoch, first, last)
  else
    ours = owns(fown, fnext, epoch, first, last)
  end
  if count == 0 or not ours then
    return 'the reported subtasks are not of this load'
  end

  -- Whether this is the attempt that runs; its bodies are needed where some are to run again.
  local parcel = epoch .. ':' .. ARGV[at + 1]
  local value = redis.call('HGET', KEYS[4], parcel)
  local current, bodies = false, {}
  local place, deaths, key_here
  if value then
    local shard, entry, with = read_running(value)
    local _, _, tried, size, from, died, its_key = read_head(entry)
    place, deaths, key_here = shard .. '/' .. (with or ARGV[at + 1]) .. ':', died, its_key
    current = txt(tried) == attempt and txt(died) == ARGV[at + 9] and size == count
    if current and string.find(letters, '[drg]') then
      for i = 1, count do
        bodies[i], from = read_body(entry, from)
      end
    end
  end
  if current then
    redis.call('HDEL', KEYS[4], parcel)
    ran, running, used = true, running - count, used + num(ARGV[at + 3])
    local _, done = string.gsub(letters, '[^rg]', '') -- what was returned did not run, and what goes on is not done
    if done > 0 then
      busy, timed = busy + num(ARGV[at + 3]), timed + done
    end
    if timed > 100000 then -- halving now and then lets the mean follow a change
      busy, timed = busy / 2, math.floor(timed / 2)
    end
  end

  local counted, whole, keep = 0, true, {}
  local back_here, delay, under_way = {}, 0, 0
  local s = string.byte('s')

  local function settle(seq)
    local i = seq - first + 1
    if string.byte(letters, i) == s then
      tally.s, counted = tally.s + 1, counted + 1
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
      tally[letter], counted = tally[letter] + 1, counted + 1
      keep[i] = true
      return true
    end
    if letter == 'r' then
      back_here[#back_here + 1] = seq
    elseif letter == 'g' then
      going_on[#going_on + 1] = name(num(epoch), seq)
      going_on[#going_on + 1] = place .. single(num(epoch), seq, num(attempt), deaths, bodies[i], key_here)
      under_way, running = under_way + 1, running + 1
    else
      time = time or now()
      delays, under_way = delays + 1, under_way + 1
      local again = single(num(epoch), seq, num(attempt) + 1, 0, bodies[i], key_here)
      more_bytes = more_bytes + #again
      members[#members + 1] = txt(time + num(ARGV[at + ARGS - 1 + delay]))
      members[#members + 1] = delayed_member(delays, again)
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

  local chunk, key = math.floor(first / CHUNK), num(ARGV[at + 10])
  while chunk * CHUNK <= last do
    local from, to = math.max(first, chunk * CHUNK), math.min(last, chunk * CHUNK + CHUNK - 1)
    each_in_chunk(KEYS[key], KEYS[8], KEYS[9], chunk, from, to, settle, known)
    chunk, key = chunk + 1, key + 1
  end

  local together, from = num(ARGV[at + 8]), 1
  while from <= #back_here do
    local to, these = from, {}
    repeat
      local body = bodies[back_here[to] - first + 1]
      these[#these + 1] = number(#body) .. body
      to = to + 1
    until to > #back_here or to - from >= together or back_here[to] ~= back_here[to - 1] + 1
    back[#back + 1] = parcel_of(num(epoch), back_here[from], num(attempt), deaths, to - from, table.concat(these), key_here)
    from = to
  end
  returned = returned + #back_here
  if current and key_here then
    ended[#ended + 1] = { key_here, under_way - 1 }
  end

  if counted > 0 then
    local packed = ARGV[at + 6]
    if not whole then
      local kept, from_byte = {}, 1
      for i = 1, count do
        local length = struct.unpack('<I4', ARGV[at + 7], i * 4 - 3)
        if keep[i] then
          kept[#kept + 1] = string.sub(packed, from_byte, from_byte + length - 1)
        end
        from_byte = from_byte + length
      end
      packed = table.concat(kept)
    end
    results[#results + 1] = ARGV[at + 5] .. packed
    sizes[#sizes + 1] = counted .. ':' .. #packed
    waiting, wbytes = waiting + counted, wbytes + #packed
  end
  return counted
end

local at, before_it = 2, pending
while at <= #ARGV do
  reply[#reply + 1] = count_report(at)
  at = at + ARGS + num(ARGV[at + ARGS - 1])
end

in_portions('SADD', KEYS[7], settled, 1)
in_portions('SREM', KEYS[7], unsettled, 1)
in_portions('HSET', KEYS[4], going_on, 2)
in_portions('ZADD', KEYS[3], members, 2)
in_portions('RPUSH', KEYS[5], results, 1)
in_portions('RPUSH', KEYS[6], sizes, 1)
if #back > 0 then
  return_to_pending(KEYS[1], KEYS[2], KEYS[10], KEYS[11], back)
  pending = pending + returned
  more_bytes = more_bytes + bytes_of(back)
end
for _, each in ipairs(ended) do
  keyed = keyed or keyed_in(KEYS[1], KEYS[10], KEYS[11])
  keyed.under_way(each[1], each[2])
end

local set = {}
local function put(field, value)
  set[#set + 1], set[#set + 2] = field, value
end
local function add(field, so_far, more)
  if more > 0 then
    put(field, txt(num(so_far) + more))
  end
end
if ran then
  put('running', txt(running))
  put('busy', txt(busy))
  put('timed', txt(timed))
  put('used', txt(used))
end
if pending ~= before_it then
  put('pending', txt(pending))
end
if #members > 0 then
  put('delays', txt(delays))
end
add('pbytes', bytes, more_bytes)
add('succeeded', succeeded, tally.s)
add('failed', failed, tally.f)
add('timed_out', timed_out, tally.t)
add('cancelled', cancelled, tally.c)
if #results > 0 then
  put('waiting', txt(waiting))
  put('wbytes', txt(wbytes))
end
if #set > 0 then
  redis.call('HSET', KEYS[1], unpack(set))
end
reply[2], reply[3] = txt(running), txt(pending)
return reply
