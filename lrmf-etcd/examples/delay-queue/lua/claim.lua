-- Claims items that are due, the longest due first.
-- KEYS: token due claimed payloads
-- ARGV: token, how many at most
-- Reply: milliseconds until the next one is due or -1, {id, payload, id, payload, ...} | error FENCED
local no = fence(KEYS[1], ARGV[1])
if no then
  return no
end
local moment = now()
local found = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', moment), 'WITHSCORES',
  'LIMIT', 0, ARGV[2])
local items = {}
for i = 1, #found, 2 do
  redis.call('ZREM', KEYS[2], found[i])
  redis.call('ZADD', KEYS[3], found[i + 1], found[i])
  items[i] = found[i]
  items[i + 1] = redis.call('HGET', KEYS[4], found[i])
end
local next = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2]
return { next and math.max(0, tonumber(next) - moment) or -1, items }
