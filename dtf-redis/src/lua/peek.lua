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
local most, bytes, fitting = num(ARGV[4]), 0, 0
if most == 0 then
  return { OK }
end
for i, size in ipairs(redis.call('LRANGE', KEYS[3], 0, most - 1)) do
  bytes = bytes + num(string.match(size, ':(%d+)'))
  if i > 1 and bytes > num(ARGV[5]) then
    break
  end
  fitting = i
end
if fitting == 0 then
  return { OK }
end
local reply = redis.call('LRANGE', KEYS[2], 0, fitting - 1)
table.insert(reply, 1, OK)
return reply
