-- Before every script that a holder calls. Refuses a token below the highest one that the shard has seen, and remembers
-- a higher one: from then on nobody who held the shard before can do anything to it.
local function fence(key, token)
  local highest = tonumber(redis.call('GET', key) or '0')
  if tonumber(token) < highest then
    return redis.error_reply('FENCED by ' .. string.format('%.0f', highest))
  end
  redis.call('SET', key, token)
  return nil
end

-- The server's clock is everybody's, in milliseconds.
local function now()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
