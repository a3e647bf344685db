-- Takes a shard up, or claims from it; either way the token is raised and the offer set.
-- KEYS: fence ready claimed shipped
-- ARGV: token, window, kinds of task, most to claim or '' to be given all that is claimed, then the names of what is in hand
-- Reply: OK, then the shipments | FENCED, token
local seen = redis.call('HGET', KEYS[1], 'token')
if seen and ARGV[1] < seen then
  return { FENCED, seen }
end
pass_when_full(KEYS[1])
redis.call('HSET', KEYS[1], 'token', ARGV[1], 'window', ARGV[2], 'kinds', ARGV[3])
local reply = { OK }
local claimed = redis.call('LRANGE', KEYS[3], 0, -1)
if ARGV[4] == '' then
  for _, name in ipairs(claimed) do
    reply[#reply + 1] = redis.call('HGET', KEYS[4], name)
  end
  return reply
end
local most, in_hand = num(ARGV[4]), {}
for i = 5, #ARGV do
  in_hand[ARGV[i]] = true
end
for _, name in ipairs(claimed) do
  if #reply <= most and not in_hand[name] then
    reply[#reply + 1] = redis.call('HGET', KEYS[4], name)
  end
end
while #reply <= most do
  local name = redis.call('LPOP', KEYS[2])
  if not name then
    break
  end
  redis.call('RPUSH', KEYS[3], name)
  reply[#reply + 1] = redis.call('HGET', KEYS[4], name)
end
return reply
