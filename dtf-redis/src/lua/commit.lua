-- Takes results off, adds follow-ups and saves the collector's status, all or nothing, once.
-- KEYS: info pending delayed results sizes
-- ARGV: run, token, epoch, offset, batches, first, saved with a '+' before it or '', then the follow-ups as parcels of one
-- Reply: OK and the state | GONE | FENCED, token | CONFLICT, why
local there, seen, fown, fnext, offset, ending, pending, waiting, wbytes, collected = unpack(redis.call('HMGET', KEYS[1],
  'run', 'ctoken', 'fown', 'fnext', 'offset', 'ending', 'pending', 'waiting', 'wbytes', 'collected'))
local no = refused(there, ARGV[1], seen, ARGV[2])
if no then
  return no
end
pass_when_full(KEYS[1])
if latest(fown) ~= ARGV[3] then
  return { CONFLICT, 'another load of the collector has begun' }
end
local batches, added = num(ARGV[5]), #ARGV - 7
offset = num(offset)
if ending or num(ARGV[4]) + batches == offset then
  return state(KEYS[1], KEYS[3]) -- closed meanwhile, or sent again
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
redis.call('LTRIM', KEYS[4], batches, -1)
redis.call('LTRIM', KEYS[5], batches, -1)
for from = 8, #ARGV, 6000 do
  redis.call('RPUSH', KEYS[2], unpack(ARGV, from, math.min(from + 5999, #ARGV)))
end
redis.call('HSET', KEYS[1], 'offset', txt(offset + batches), 'collected', txt(num(collected) + count),
  'waiting', txt(num(waiting) - count), 'wbytes', txt(num(wbytes) - bytes),
  'pending', txt(num(pending) + added), 'fnext', txt(num(fnext) + added))
if ARGV[7] == '' then
  redis.call('HDEL', KEYS[1], 'csaved')
else
  redis.call('HSET', KEYS[1], 'csaved', ARGV[7])
end
return state(KEYS[1], KEYS[3])
