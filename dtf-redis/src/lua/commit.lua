-- Takes results off, reopens subtasks, adds follow-ups and saves the collector's status, all or nothing, once.
-- KEYS: info pending delayed results sizes keyed turns spec end, and with an ending what `end_books` deletes
-- ARGV: run, token, epoch, offset, batches, first, saved with a '+' before it or '', ending as JSON or '',
--   a letter for each subtask that stays open, as what it was counted: s(ucceeded) f(ailed) t(imed out),
--   the delay in microseconds of each of these, then these and the follow-ups as parcels of one
-- Reply: OK and the state | GONE | FENCED, token | CONFLICT, why
local there, seen, fown, fnext, offset, ending, pending, waiting, wbytes, collected, reopened, delays, succeeded, failed,
  timed_out, cancelled, finished, gnext, bytes_waiting = unpack(redis.call('HMGET', KEYS[1], 'run', 'ctoken', 'fown', 'fnext', 'offset', 'ending',
  'pending', 'waiting', 'wbytes', 'collected', 'reopened', 'delays', 'succeeded', 'failed', 'timed_out', 'cancelled', 'finished',
  'gnext', 'pbytes'))
local no = refused(there, ARGV[1], seen, ARGV[2])
if no then
  return no
end
pass_when_full(KEYS[1])
if latest(fown) ~= ARGV[3] then
  return { CONFLICT, 'another load of the collector has begun' }
end
local batches, open = num(ARGV[5]), #ARGV[9]
local entries = 10 + open -- where they begin
local added = #ARGV - entries + 1
offset = num(offset)
if ending or num(ARGV[4]) + batches == offset then
  return state(KEYS[1], KEYS[3], KEYS[8], KEYS[9]) -- closed meanwhile, or sent again
end
local sizes = redis.call('LRANGE', KEYS[5], 0, batches - 1)
if num(ARGV[4]) ~= offset or ARGV[6] ~= fnext or #sizes < batches then
  return { CONFLICT, 'the commit does not follow the last one' }
end
local count, bytes = 0, 0
for _, size in ipairs(sizes) do
  local results, length = string.match(size, '(%d+):(%d+)')
  count, bytes = count + num(results), bytes + num(length)
end

local set = {}
if open > 0 then
  local left = { s = num(succeeded), f = num(failed), t = num(timed_out) }
  for letter in string.gmatch(ARGV[9], '.') do
    left[letter] = left[letter] - 1
  end
  if open > count or left.s < 0 or left.f < 0 or left.t < 0 then
    return { CONFLICT, 'more stays open than was counted' }
  end
  set = { 'succeeded', txt(left.s), 'failed', txt(left.f), 'timed_out', txt(left.t), 'reopened', txt(num(reopened) + open) }
end

if ARGV[8] ~= '' then
  local created = created_of(gnext, fnext, reopened)
  local counted = num(succeeded) + num(failed) + num(cancelled) + num(timed_out)
  if not finished or added > 0 or counted ~= created or num(collected) + count ~= counted then
    return { CONFLICT, 'the task is not complete with these results' }
  end
  redis.call('SET', KEYS[9], ARGV[8])
  set = { 'ending', '+', 'over', 1 }
  end_books(10)
end

redis.call('LTRIM', KEYS[4], batches, -1)
redis.call('LTRIM', KEYS[5], batches, -1)
local members, at_once = {}, {}
local time
local keyed = keyed_in(KEYS[1], KEYS[6], KEYS[7])
for i = 1, open do
  local entry, delay = ARGV[entries + i - 1], num(ARGV[9 + i])
  if delay == 0 then
    at_once[#at_once + 1] = entry
  else
    time = time or now()
    delays = num(delays) + 1
    members[#members + 1] = txt(time + delay)
    members[#members + 1] = delayed_member(delays, entry)
    local key = key_of(entry)
    if key then
      keyed.under_way(key, 1)
    end
  end
end
if #members > 0 then
  in_portions('ZADD', KEYS[3], members, 2)
  set[#set + 1], set[#set + 2] = 'delays', txt(delays)
end
for i = entries + open, #ARGV do
  at_once[#at_once + 1] = ARGV[i]
end
return_to_pending(KEYS[1], KEYS[2], KEYS[6], KEYS[7], at_once) -- before what the generator emits, so that what iterates does not pile up
redis.call('HSET', KEYS[1], 'offset', txt(offset + batches), 'collected', txt(num(collected) + count - open),
  'waiting', txt(num(waiting) - count), 'wbytes', txt(num(wbytes) - bytes),
  'pending', txt(num(pending) + added - #members / 2), 'fnext', txt(num(fnext) + added),
  'pbytes', txt(num(bytes_waiting) + bytes_of(ARGV, entries)), unpack(set))
if ARGV[7] == '' then
  redis.call('HDEL', KEYS[1], 'csaved')
else
  redis.call('HSET', KEYS[1], 'csaved', ARGV[7])
end
return state(KEYS[1], KEYS[3], KEYS[8], KEYS[9])
