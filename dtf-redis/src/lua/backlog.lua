-- How the backlog stands, as push and load_generator reply it too.
local function backlog(info, delayed)
  local reply = redis.call('HMGET', info, 'pending', 'busy', 'timed', 'control', 'waiting', 'wbytes')
  table.insert(reply, 1, OK)
  reply[#reply + 1] = redis.call('ZCARD', delayed)
  return reply
end
