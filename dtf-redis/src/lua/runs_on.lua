-- Whether a parcel is recorded as running on a shard, as this attempt and with so many deaths.
-- KEYS: info running
-- ARGV: run, name of the parcel, attempt, deaths, shard
-- Reply: OK, 1 where it is, else 0 | GONE
local no = refused(redis.call('HGET', KEYS[1], 'run'), ARGV[1])
if no then
  return no
end
local value = redis.call('HGET', KEYS[2], ARGV[2])
if not value then
  return { OK, 0 }
end
local shard, entry = read_running(value)
local _, _, attempt, _, _, deaths = read_head(entry)
return { OK, shard == ARGV[5] and txt(attempt) == ARGV[3] and txt(deaths) == ARGV[4] and 1 or 0 }
