-- How the backlog stands, as push and load_generator reply it too. The bytes of what waits are as this version counted them:
-- they begin anew with each empty backlog.
local function backlog(info, delayed)
  local pending, busy, timed, control, waiting, wbytes, bytes = unpack(redis.call('HMGET', info,
    'pending', 'busy', 'timed', 'control', 'waiting', 'wbytes', 'pbytes'))
  local later = redis.call('ZCARD', delayed)
  bytes = num(pending) + later > 0 and math.max(num(bytes), 0) or 0
  return { OK, pending, busy, timed, control, waiting, wbytes, later, txt(bytes) }
end
