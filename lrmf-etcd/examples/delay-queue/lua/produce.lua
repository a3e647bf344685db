-- Puts an item in, due after a delay.
-- KEYS: due payloads
-- ARGV: id, payload, delay in milliseconds
-- Reply: 1, or 0 where an item of this id is there already
if redis.call('HSETNX', KEYS[2], ARGV[1], ARGV[2]) == 0 then
  return 0
end
redis.call('ZADD', KEYS[1], string.format('%.0f', now() + tonumber(ARGV[3])), ARGV[1])
return 1
