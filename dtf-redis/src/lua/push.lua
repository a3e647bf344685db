-- Adds subtasks and saves the generator's status behind them, all or nothing, once.
-- KEYS: info pending delayed keyed turns
-- ARGV: run, token, epoch, first, count of subtasks, finished (1 or 0), progress or '', saved with a '+' before it or '',
--   whether parcels have keys (1 or 0), then the parcels
-- Reply: OK, pending, busy, timed, control, waiting, wbytes, delayed, bytes | GONE | FENCED, token | CONFLICT, why
local there, seen, gown, gnext, finished, ending, waiting, bytes = unpack(redis.call('HMGET', KEYS[1],
  'run', 'gtoken', 'gown', 'gnext', 'finished', 'ending', 'pending', 'pbytes'))
local no = refused(there, ARGV[1], seen, ARGV[2])
if no then
  return no
end
if latest(gown) ~= ARGV[3] then
  return { CONFLICT, 'another load of the generator has begun' }
end
local first, count, next, last = num(ARGV[4]), num(ARGV[5]), num(gnext), ARGV[6] == '1'
if ending or (first + count == next and (count > 0 or (finished and last))) then
  return backlog(KEYS[1], KEYS[3])
end
if first ~= next or finished then
  return { CONFLICT, 'the batch does not follow the last one' }
end
local function push(from, to)
  for at = from, to, 6000 do
    redis.call('RPUSH', KEYS[2], unpack(ARGV, at, math.min(at + 5999, to)))
  end
end
if ARGV[9] == '0' then
  push(10, #ARGV)
else
  local keyed = keyed_in(KEYS[1], KEYS[4], KEYS[5])
  for at = 10, #ARGV do
    local key = key_of(ARGV[at])
    if key then
      local _, of = read_head(ARGV[at])
      keyed.add(key, of, ARGV[at])
    else
      push(at, at)
    end
  end
end
-- What was counted wrongly by a process of another version ends with the backlog.
bytes = (num(waiting) > 0 or redis.call('ZCARD', KEYS[3]) > 0) and math.max(num(bytes), 0) or 0
redis.call('HSET', KEYS[1], 'gnext', txt(first + count), 'pending', txt(num(waiting) + count),
  'pbytes', txt(bytes + bytes_of(ARGV, 10)))
local function keep(field, value)
  if value == '' then
    redis.call('HDEL', KEYS[1], field)
  else
    redis.call('HSET', KEYS[1], field, value)
  end
end
keep('progress', ARGV[7])
keep('gsaved', ARGV[8])
if last then
  redis.call('HSET', KEYS[1], 'finished', 1)
end
return backlog(KEYS[1], KEYS[3])
