-- The first results that wait, at most so many batches, and so many bytes unless the first is larger, behind what `reply` has.
local function add_results(reply, results, sizes, most, most_bytes)
  if most == 0 then
    return reply
  end
  local bytes, fitting = 0, 0
  for i, size in ipairs(redis.call('LRANGE', sizes, 0, most - 1)) do
    bytes = bytes + num(string.match(size, ':(%d+)'))
    if i > 1 and bytes > most_bytes then
      break
    end
    fitting = i
  end
  if fitting > 0 then
    for _, batch in ipairs(redis.call('LRANGE', results, 0, fitting - 1)) do
      reply[#reply + 1] = batch
    end
  end
  return reply
end
