-- How the backlog stands.
-- KEYS: info delayed
-- ARGV: run
-- Reply: OK, pending, busy, timed, control, waiting, wbytes, delayed, bytes | GONE
return refused(redis.call('HGET', KEYS[1], 'run'), ARGV[1]) or backlog(KEYS[1], KEYS[2])
