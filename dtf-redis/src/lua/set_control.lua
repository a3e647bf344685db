-- Says what is wanted of a task; a wish that ends it (2, 3) stays.
-- KEYS: info
-- ARGV: run, control
-- Reply: OK | GONE
local there, control = unpack(redis.call('HMGET', KEYS[1], 'run', 'control'))
local no = refused(there, ARGV[1])
if no then
  return no
end
pass_when_full(KEYS[1])
if num(control) < 2 then
  redis.call('HSET', KEYS[1], 'control', ARGV[2])
end
return { OK }
