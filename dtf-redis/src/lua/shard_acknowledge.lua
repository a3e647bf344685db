-- Removes claimed shipments.
-- KEYS: fence ready claimed shipped
-- ARGV: token, then names
-- Reply: OK | FENCED, token
local seen = redis.call('HGET', KEYS[1], 'token')
if seen and ARGV[1] < seen then
  return { FENCED, seen }
end
pass_when_full(KEYS[1])
for i = 2, #ARGV do
  if redis.call('LREM', KEYS[3], 1, ARGV[i]) == 1 then
    redis.call('HDEL', KEYS[4], ARGV[i])
    redis.call('HINCRBY', KEYS[1], 'used', -1)
  end
end
return { OK }
