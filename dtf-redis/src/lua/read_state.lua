-- How a task stands.
-- KEYS: info delayed
-- Reply: OK and the state | GONE
if redis.call('EXISTS', KEYS[1]) == 0 then
  return { GONE }
end
return state(KEYS[1], KEYS[2])
