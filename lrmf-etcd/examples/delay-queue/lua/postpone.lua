-- Makes a claimed item due again later, as its handler failed.
-- KEYS: token due claimed
-- ARGV: token, id, delay in milliseconds
-- Reply: 1, or 0 where it is not claimed | error FENCED
local no = fence(KEYS[1], ARGV[1])
if no then
  return no
end
if redis.call('ZREM', KEYS[3], ARGV[2]) == 0 then
  return 0
end
redis.call('ZADD', KEYS[2], string.format('%.0f', now() + tonumber(ARGV[3])), ARGV[2])
return 1
