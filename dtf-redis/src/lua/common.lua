-- What every script on a task or shard begins with.
-- Replies are arrays that begin with one of these numbers.
local OK, GONE, FENCED, CONFLICT, MORE = 0, 1, 2, 3, 4

-- Where the numbers of follow-ups begin: 2^52.
local FIRST_FOLLOW_UP = 4503599627370496

local function num(text)
  return tonumber(text or 0)
end

-- How many subtasks there are. One that stayed open got a further number each time.
local function created_of(gnext, fnext, reopened)
  return num(gnext) + num(fnext) - FIRST_FOLLOW_UP - num(reopened)
end

-- A whole number as text; `..` would round from 2^47 on.
local function txt(number)
  return string.format('%.0f', number)
end

-- Why a call on a task is refused, if it is. Tokens are texts of 20 digits: a number would not keep them apart.
local function refused(there, run, seen, token)
  if there ~= run then
    return { GONE }
  end
  if seen and token < seen then
    return { FENCED, seen }
  end
end

-- Calls a command with any number of arguments, in portions that fit on Lua's stack. `width` arguments stay together.
local function in_portions(command, key, args, width)
  local portion = 6000 - 6000 % width
  for from = 1, #args, portion do
    redis.call(command, key, unpack(args, from, math.min(from + portion - 1, #args)))
  end
end

-- The time of this server, in microseconds.
local function now()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

-- A full server refuses a script at its first write that may need memory, and lets the others pass. Only what adds tasks and
-- subtasks is to be refused; all else needs little, and work has to go on to make room.
local function pass_when_full(key)
  redis.call('HDEL', key, '')
end
