-- Takes a task up as its scheduler: raises the token, and says what runs where.
-- KEYS: info running
-- ARGV: run, token
-- Reply: OK, pending, used, running, busy, timed, then name, shard, attempt and first subtask of what was shipped of each
--   parcel that runs | GONE | FENCED, token
local there, seen, pending, used, subtasks, busy, timed = unpack(redis.call('HMGET', KEYS[1],
  'run', 'stoken', 'pending', 'used', 'running', 'busy', 'timed'))
local no = refused(there, ARGV[1], seen, ARGV[2])
if no then
  return no
end
pass_when_full(KEYS[1])
redis.call('HSET', KEYS[1], 'stoken', ARGV[2])
local reply = { OK, pending or 0, used or 0, subtasks or 0, busy or 0, timed or 0 }
local running = redis.call('HGETALL', KEYS[2])
for i = 1, #running, 2 do
  local shard, entry, with = read_running(running[i + 1])
  local _, first, attempt = read_head(entry)
  reply[#reply + 1] = running[i]
  reply[#reply + 1] = shard
  reply[#reply + 1] = txt(attempt)
  reply[#reply + 1] = with or txt(first)
end
return reply
