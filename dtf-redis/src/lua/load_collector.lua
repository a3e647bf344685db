-- Takes a task up as its collector: raises the token, draws an epoch.
-- KEYS: info results sizes
-- ARGV: run, token, random number for the epoch, most batches, most bytes of them
-- Reply: OK, epoch, next, saved, offset, then the first results that wait | GONE | FENCED, token
local there, seen, fnext, gown, fown, saved, offset = unpack(redis.call('HMGET', KEYS[1],
  'run', 'ctoken', 'fnext', 'gown', 'fown', 'csaved', 'offset'))
local no = refused(there, ARGV[1], seen, ARGV[2])
if no then
  return no
end
pass_when_full(KEYS[1])
local epoch = draw_epoch(ARGV[3], gown or '', fown or '')
redis.call('HSET', KEYS[1], 'ctoken', ARGV[2], 'fown', with_load(fown, epoch, fnext))
return add_results({ OK, epoch, fnext, saved or false, offset or 0 }, KEYS[2], KEYS[3], num(ARGV[4]), num(ARGV[5]))
