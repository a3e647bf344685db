-- Charges a parcel that runs with the last death, before it may cause it.
-- KEYS: info running
-- ARGV: run, name of the parcel, attempt
-- Reply: OK, 1 where this attempt runs, else 0 | GONE
local no = refused(redis.call('HGET', KEYS[1], 'run'), ARGV[1])
if no then
  return no
end
pass_when_full(KEYS[1])
local value = redis.call('HGET', KEYS[2], ARGV[2])
if not value then
  return { OK, 0 }
end
local shard, entry, with = read_running(value)
local _, _, attempt = read_head(entry)
if txt(attempt) ~= ARGV[3] then
  return { OK, 0 }
end
redis.call('HSET', KEYS[2], ARGV[2], shard .. (with and '/' .. with or '') .. '!:' .. entry)
return { OK, 1 }
