-- Says that a task cannot go on; the first reason stays.
-- KEYS: info
-- ARGV: run, field of the role's token, token, reason
-- Reply: OK | GONE | FENCED, token
local there, seen = unpack(redis.call('HMGET', KEYS[1], 'run', ARGV[2]))
local no = refused(there, ARGV[1], seen, ARGV[3])
if no then
  return no
end
pass_when_full(KEYS[1])
redis.call('HSETNX', KEYS[1], 'stop', ARGV[4])
return { OK }
