-- How a task stands, as `queues/reply.rs` reads it.
local function state(info, delayed)
  local reply = redis.call('HMGET', info, 'spec', 'control', 'gnext', 'fnext', 'reopened', 'succeeded', 'failed',
    'cancelled', 'timed_out', 'pending', 'running', 'used', 'collected', 'finished', 'progress', 'stop', 'ending', 'gwaits', 'swaits', 'cwaits')
  reply[#reply + 1] = redis.call('ZCARD', delayed)
  table.insert(reply, 1, OK)
  return reply
end
