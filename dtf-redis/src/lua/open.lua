-- Makes the queues of a task's run.
-- KEYS: info pending delayed running results sizes settled chunks full keyed turns spec end, then bitmaps
-- ARGV: run, spec as JSON, the creation, then the numbers of the bitmaps
-- Reply: OK | GONE, where a later run is there, or another creation's | MORE and the numbers of all bitmaps to declare
local there, creation = unpack(redis.call('HMGET', KEYS[1], 'run', 'creation'))
if there and num(there) > num(ARGV[1]) then
  return { GONE }
end
if there == ARGV[1] then
  -- The previous version wrote none.
  return { creation and creation ~= ARGV[3] and GONE or OK }
end
-- Deleting makes a full server pass the rest, which is right for a task that gives up its earlier run, and only for that.
local more = there and discard(4)
if more then
  return more
end
redis.call('SET', KEYS[12], ARGV[2])
redis.call('HSET', KEYS[1], 'run', ARGV[1], 'creation', ARGV[3], 'control', 0, 'gnext', 0, 'fnext', FIRST_FOLLOW_UP)
return { OK }
