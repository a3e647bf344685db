-- The first results that wait, without taking them off.
-- KEYS: info results sizes
-- ARGV: run, token, offset, most batches, most bytes
-- Reply: OK, then the batches | GONE | FENCED, token | CONFLICT, why
local there, seen, offset = unpack(redis.call('HMGET', KEYS[1], 'run', 'ctoken', 'offset'))
local no = refused(there, ARGV[1], seen, ARGV[2])
if no then
  return no
end
if num(offset) ~= num(ARGV[3]) then
  return { CONFLICT, 'the results have been committed further' }
end
return add_results({ OK }, KEYS[2], KEYS[3], num(ARGV[4]), num(ARGV[5]))
