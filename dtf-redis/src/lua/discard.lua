-- Deletes the queues of a task. `KEYS` are all its fixed keys, and from the fourteenth on the bitmaps whose numbers `ARGV` has
-- from `from` on. Where there are others, deletes nothing and replies with the numbers of all of them.
local function discard(from)
  local declared = {}
  for i = from, #ARGV do
    declared[ARGV[i]] = true
  end
  local chunks = redis.call('HKEYS', KEYS[8])
  for _, chunk in ipairs(chunks) do
    if not declared[chunk] then
      table.insert(chunks, 1, MORE)
      return chunks
    end
  end
  for from = 1, #KEYS, 6000 do
    redis.call('UNLINK', unpack(KEYS, from, math.min(from + 5999, #KEYS)))
  end
end
