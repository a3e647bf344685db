-- How a task stands, as `queues/reply.rs` reads it. The specification is a key of its own: a hash with such a long value is no
-- longer a compact one.
local function state(info, delayed, spec)
  local reply = redis.call('HMGET', info, 'run', 'control', 'gnext', 'fnext', 'reopened', 'succeeded', 'failed',
    'cancelled', 'timed_out', 'pending', 'running', 'used', 'collected', 'finished', 'progress', 'stop', 'ending', 'gwaits', 'swaits', 'cwaits')
  reply[#reply + 1] = redis.call('ZCARD', delayed)
  reply[#reply + 1] = redis.call('GET', spec)
  table.insert(reply, 1, OK)
  return reply
end
