-- Ends a task: what has not ended is counted as cancelled.
-- KEYS: info pending delayed running results sizes settled keyed turns
-- ARGV: run
-- Reply: OK, created, succeeded, failed, cancelled, timed out | GONE
local there, control, gnext, fnext, reopened, succeeded, failed, cancelled, timed_out, ending = unpack(redis.call('HMGET',
  KEYS[1], 'run', 'control', 'gnext', 'fnext', 'reopened', 'succeeded', 'failed', 'cancelled', 'timed_out', 'ending'))
local no = refused(there, ARGV[1])
if no then
  return no
end
pass_when_full(KEYS[1])
local created = created_of(gnext, fnext, reopened)
if not ending then
  cancelled = txt(created - num(succeeded) - num(failed) - num(timed_out))
  redis.call('HSET', KEYS[1], 'cancelled', cancelled, 'pending', 0, 'running', 0, 'waiting', 0, 'wbytes', 0, 'pbytes', 0,
    'ending', '"Closed"', 'over', 1)
  if num(control) < 2 then
    redis.call('HSET', KEYS[1], 'control', 3)
  end
  redis.call('UNLINK', unpack(KEYS, 2))
end
return { OK, txt(created), succeeded, failed, cancelled, timed_out }
