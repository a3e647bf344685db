-- Puts shipments on a shard, as many as there is room for. What waits there already counts as put; what is claimed ends it:
-- its acknowledgement may be on its way, and would take the new shipment along.
-- KEYS: fence ready claimed shipped
-- ARGV: name and shipment, one pair after the other
-- Reply: OK, how many were put
pass_when_full(KEYS[1])
local window, used = unpack(redis.call('HMGET', KEYS[1], 'window', 'used'))
window, used = num(window), num(used)
local put = 0
for i = 1, #ARGV, 2 do
  if redis.call('HEXISTS', KEYS[4], ARGV[i]) == 0 then
    if used >= window then
      break
    end
    redis.call('HSET', KEYS[4], ARGV[i], ARGV[i + 1])
    redis.call('RPUSH', KEYS[2], ARGV[i])
    used = redis.call('HINCRBY', KEYS[1], 'used', 1)
  elseif redis.call('LPOS', KEYS[3], ARGV[i]) then
    break
  end
  put = put + 1
end
return { OK, put }
