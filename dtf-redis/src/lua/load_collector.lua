-- Takes a task up as its collector: raises the token, draws an epoch.
-- KEYS: info
-- ARGV: run, token, random number for the epoch
-- Reply: OK, epoch, next, saved, offset | GONE | FENCED, token
local there, seen, fnext, gown, fown, saved, offset = unpack(redis.call('HMGET', KEYS[1],
  'run', 'ctoken', 'fnext', 'gown', 'fown', 'csaved', 'offset'))
local no = refused(there, ARGV[1], seen, ARGV[2])
if no then
  return no
end
pass_when_full(KEYS[1])
local epoch = draw_epoch(ARGV[3], gown or '', fown or '')
redis.call('HSET', KEYS[1], 'ctoken', ARGV[2], 'fown', with_load(fown, epoch, fnext))
return { OK, epoch, fnext, saved, offset }
