-- Takes running parcels back to pending, in front of all others, or one by one to delayed.
-- KEYS: info pending delayed running keyed turns
-- ARGV: run, token, delay in microseconds, then the names of the parcels
-- Reply: OK | GONE | FENCED, token
local there, seen, pending, running, delays, bytes = unpack(redis.call('HMGET', KEYS[1],
  'run', 'stoken', 'pending', 'running', 'delays', 'pbytes'))
local no = refused(there, ARGV[1], seen, ARGV[2])
if no then
  return no
end
pass_when_full(KEYS[1])
local back, subtasks, members, keys = {}, 0, {}, {}
bytes = num(bytes)
local due = now() + num(ARGV[3])
delays = num(delays)
for i = 4, #ARGV do
  local value = redis.call('HGET', KEYS[4], ARGV[i])
  if value then
    redis.call('HDEL', KEYS[4], ARGV[i])
    local _, entry = read_running(value)
    local epoch, first, attempt, count, at, deaths, key = read_head(entry)
    subtasks = subtasks + count
    back[#back + 1] = entry
    if key then
      keys[#keys + 1] = { key, count }
    end
    if ARGV[3] ~= '0' then
      for index = 0, count - 1 do
        local body
        body, at = read_body(entry, at)
        delays = delays + 1
        local one = single(epoch, first + index, attempt, deaths, body, key)
        bytes = bytes + #one
        members[#members + 1] = txt(due)
        members[#members + 1] = delayed_member(delays, one)
      end
    end
  end
end
if subtasks == 0 then
  return { OK }
end
if ARGV[3] == '0' then
  return_to_pending(KEYS[1], KEYS[2], KEYS[5], KEYS[6], back)
  redis.call('HSET', KEYS[1], 'pending', txt(num(pending) + subtasks), 'running', txt(num(running) - subtasks),
    'pbytes', txt(bytes + bytes_of(back)))
else
  in_portions('ZADD', KEYS[3], members, 2)
  redis.call('HSET', KEYS[1], 'running', txt(num(running) - subtasks), 'delays', txt(delays), 'pbytes', txt(bytes))
end
local keyed = keyed_in(KEYS[1], KEYS[5], KEYS[6])
for _, each in ipairs(keys) do
  keyed.under_way(each[1], ARGV[3] == '0' and -1 or each[2] - 1)
end
return { OK }
