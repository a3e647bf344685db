-- How a task stands, as `queues/reply.rs` reads it. The specification and what the collector made of the task are keys of their
-- own: a hash with such long values is no longer a compact one.
local function state(info, delayed, spec, ended)
  local reply = redis.call('HMGET', info, 'run', 'control', 'gnext', 'fnext', 'reopened', 'succeeded', 'failed',
    'cancelled', 'timed_out', 'pending', 'running', 'used', 'collected', 'finished', 'progress', 'stop', 'ending', 'gwaits', 'swaits', 'cwaits')
  reply[#reply + 1] = redis.call('ZCARD', delayed)
  -- The previous version wrote it into the hash.
  reply[#reply + 1] = redis.call('GET', spec) or redis.call('HGET', info, 'spec')
  reply[#reply + 1] = redis.call('GET', ended)
  table.insert(reply, 1, OK)
  return reply
end
