-- Begins a run on a shard: what earlier runs claimed and did not deliver is due again, at its old time.
-- KEYS: token due claimed
-- ARGV: token
-- Reply: how many items that were | error FENCED
local no = fence(KEYS[1], ARGV[1])
if no then
  return no
end
local left = redis.call('ZCARD', KEYS[3])
if left > 0 then
  redis.call('ZUNIONSTORE', KEYS[2], 2, KEYS[2], KEYS[3], 'AGGREGATE', 'MIN')
  redis.call('DEL', KEYS[3])
end
return left
