-- Says what a task waits for in a role, or that it waits no more.
-- KEYS: info
-- ARGV: run, field of the role's token, token, field of the role's reason, reason or ''
-- Reply: OK | GONE | FENCED, token
local there, seen = unpack(redis.call('HMGET', KEYS[1], 'run', ARGV[2]))
local no = refused(there, ARGV[1], seen, ARGV[3])
if no then
  return no
end
pass_when_full(KEYS[1])
if ARGV[5] == '' then
  redis.call('HDEL', KEYS[1], ARGV[4])
else
  redis.call('HSET', KEYS[1], ARGV[4], ARGV[5])
end
return { OK }
