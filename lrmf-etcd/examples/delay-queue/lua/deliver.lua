-- Takes a claimed item off and enters it into the book of what was delivered, in one step.
-- KEYS: token claimed payloads delivered
-- ARGV: token, id
-- Reply: 1, or 0 where it is not claimed (it was delivered by the same call before) | error FENCED
local no = fence(KEYS[1], ARGV[1])
if no then
  return no
end
if redis.call('ZREM', KEYS[2], ARGV[2]) == 0 then
  return 0
end
local payload = redis.call('HGET', KEYS[3], ARGV[2])
redis.call('HDEL', KEYS[3], ARGV[2])
redis.call('XADD', KEYS[4], '*', 'id', ARGV[2], 'payload', payload, 'token', ARGV[1])
return 1
