-- Records what the collector made of a task that is complete.
-- KEYS: info end, and what `end_books` deletes
-- ARGV: run, token, ending as JSON
-- Reply: OK | GONE | FENCED, token | CONFLICT, why
local there, seen, ending, finished, gnext, fnext, reopened, succeeded, failed, cancelled, timed_out, collected =
  unpack(redis.call('HMGET', KEYS[1], 'run', 'ctoken', 'ending', 'finished', 'gnext', 'fnext', 'reopened', 'succeeded',
  'failed', 'cancelled', 'timed_out', 'collected'))
local no = refused(there, ARGV[1], seen, ARGV[2])
if no then
  return no
end
pass_when_full(KEYS[1])
if ending then
  return { OK }
end
local created = created_of(gnext, fnext, reopened)
local counted = num(succeeded) + num(failed) + num(cancelled) + num(timed_out)
if not finished or counted ~= created or num(collected) ~= counted then
  return { CONFLICT, 'the task is not complete' }
end
redis.call('SET', KEYS[2], ARGV[3])
redis.call('HSET', KEYS[1], 'ending', '+', 'over', 1)
end_books(3)
return { OK }
