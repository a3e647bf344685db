-- Deletes the queues of a task, up to and with a run.
-- KEYS: info pending delayed running results sizes settled chunks full keyed turns spec end, then bitmaps
-- ARGV: run, then the numbers of the bitmaps
-- Reply: OK | MORE and the numbers of all bitmaps to declare
local there = redis.call('HGET', KEYS[1], 'run')
if there and num(there) > num(ARGV[1]) then
  return { OK }
end
return discard(2) or { OK }
