-- Takes back what an executor had that is gone: what still runs there goes back in front, one by one, a death nearer to the
-- last. Only who was marked reaches that.
-- KEYS: info pending delayed running results sizes settled chunks full keyed turns, then the bitmaps that the parcel's subtasks are in
-- ARGV: run, epoch, first, attempt, count, shard, most deaths
-- Reply: OK, counted, running, pending, control | GONE
local there, control, pending, running, ending, bytes = unpack(redis.call('HMGET', KEYS[1],
  'run', 'control', 'pending', 'running', 'ending', 'pbytes'))
local no = refused(there, ARGV[1])
if no then
  return no
end
pass_when_full(KEYS[1])
pending, running = num(pending), num(running)
local epoch, first, count, back = num(ARGV[2]), num(ARGV[3]), num(ARGV[5]), {}

-- The subtasks from `seq` on that are not in the books, each as a parcel of one.
local function take_back(seq, attempt, deaths, marked, size, entry, at, of)
  local bodies = {}
  for i = 1, size do
    bodies[i], at = read_body(entry, at)
  end
  if marked or deaths + 1 < num(ARGV[7]) then
    deaths = math.min(deaths + 1, TRIES - 1)
  end
  local last = seq + size - 1
  local chunk = math.floor(seq / CHUNK)
  while chunk * CHUNK <= last do
    local from, to = math.max(seq, chunk * CHUNK), math.min(last, chunk * CHUNK + CHUNK - 1)
    local key = KEYS[12 + chunk - math.floor(first / CHUNK)]
    each_in_chunk(key, KEYS[8], KEYS[9], chunk, from, to, function(each)
      back[#back + 1] = single(epoch, each, attempt, deaths, bodies[each - seq + 1], of)
      return false
    end, function(each)
      redis.call('SREM', KEYS[7], txt(each))
    end)
    chunk = chunk + 1
  end
end

local keys = {}
for seq = first, ending and first - 1 or first + count - 1 do
  local parcel = name(epoch, seq)
  local value = redis.call('HGET', KEYS[4], parcel)
  if value then
    local shard, entry, with, marked = read_running(value)
    local _, _, attempt, size, at, deaths, of = read_head(entry)
    if shard == ARGV[6] and txt(attempt) == ARGV[4] and (with or txt(seq)) == ARGV[3] then
      redis.call('HDEL', KEYS[4], parcel)
      running = running - size
      take_back(seq, attempt, deaths, marked, size, entry, at, of)
      keys[#keys + 1] = of
    end
  end
end
if #back > 0 then
  return_to_pending(KEYS[1], KEYS[2], KEYS[10], KEYS[11], back)
end
for _, key in ipairs(keys) do
  keyed_in(KEYS[1], KEYS[10], KEYS[11]).under_way(key, -1)
end
pending = pending + #back
if not ending then
  redis.call('HSET', KEYS[1], 'pending', txt(pending), 'running', txt(running), 'pbytes', txt(num(bytes) + bytes_of(back)))
  if #back > 0 then
    redis.call('HINCRBY', KEYS[1], 'lost', #back)
  end
end
return { OK, 0, txt(running), txt(pending), control }
