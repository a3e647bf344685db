-- Takes a task up as its generator: raises the token, draws an epoch.
-- KEYS: info delayed
-- ARGV: run, token, random number for the epoch
-- Reply: OK, pending, busy, timed, control, waiting, wbytes, delayed, bytes, epoch, next, saved, finished | GONE | FENCED, token
local there, seen, gnext, gown, fown, saved, finished = unpack(redis.call('HMGET', KEYS[1],
  'run', 'gtoken', 'gnext', 'gown', 'fown', 'gsaved', 'finished'))
local no = refused(there, ARGV[1], seen, ARGV[2])
if no then
  return no
end
pass_when_full(KEYS[1])
local epoch = draw_epoch(ARGV[3], gown or '', fown or '')
redis.call('HSET', KEYS[1], 'gtoken', ARGV[2], 'gown', with_load(gown, epoch, gnext))
local reply = backlog(KEYS[1], KEYS[2])
reply[10], reply[11], reply[12], reply[13] = epoch, gnext, saved, finished
return reply
