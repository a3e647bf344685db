-- Pending parcels that have a key, as `dtf_model::queue` says. They are members of a sorted set by key, follow-ups first, and
-- number, all with the score 0. Another one has the keys. The score of one in line is its lane times PLACES and its place; that
-- of a busy one, which is ordered, is minus the number of its parcels that run or are delayed.
local PLACES = 68719476736 -- 2^36; there are at most 2^16 lanes

-- Before which of two numbers is: follow-ups before what the generator emitted.
local function before(one, other)
  if (one < FIRST_FOLLOW_UP) ~= (other < FIRST_FOLLOW_UP) then
    return one >= FIRST_FOLLOW_UP
  end
  return one < other
end

-- The keyed parcels of a task whose info, sorted set of parcels and sorted set of keys are these.
local function keyed_in(info, parcels, turns)
  local keyed, lanes = {}, nil

  local function stand(key, place)
    lanes = lanes or num(redis.call('HGET', info, 'lanes'))
    local lane = math.floor(key / 2) % math.max(lanes, 1)
    redis.call('ZADD', turns, txt(lane * PLACES + place), txt(key))
  end

  local function stand_last(key)
    stand(key, redis.call('HINCRBY', info, 'places', 1))
  end

  local function put(key, first, entry)
    local from = first < FIRST_FOLLOW_UP and '\1' or '\0'
    redis.call('ZADD', parcels, 0, struct.pack('>I8', key) .. from .. struct.pack('>I8', first) .. entry)
  end

  local function first_of(key)
    local own = struct.pack('>I8', key)
    return redis.call('ZRANGEBYLEX', parcels, '[' .. own, '(' .. own .. '\2', 'LIMIT', 0, 1)[1]
  end

  -- The keys stand in so many lanes from now on.
  function keyed.set_lanes(number)
    if redis.call('HGET', info, 'lanes') == number then
      return
    end
    redis.call('HSET', info, 'lanes', number)
    lanes = num(number)
    local all = redis.call('ZRANGEBYSCORE', turns, 0, '+inf', 'WITHSCORES')
    for i = 1, #all, 2 do
      stand(num(all[i]), num(all[i + 1]) % PLACES)
    end
  end

  function keyed.add(key, first, entry)
    put(key, first, entry)
    if not redis.call('ZSCORE', turns, txt(key)) then
      stand_last(key)
    end
  end

  -- The key that has been in line the longest in one of these lanes, and its first parcel as it is stored.
  function keyed.first(of)
    local key, place
    for lane in string.gmatch(of, '%d+') do
      local from = num(lane) * PLACES
      local found = redis.call('ZRANGEBYSCORE', turns, txt(math.max(from, 1)), '(' .. txt(from + PLACES), 'WITHSCORES',
        'LIMIT', 0, 1)
      if found[1] and (not place or num(found[2]) - from < place) then
        key, place = num(found[1]), num(found[2]) - from
      end
    end
    return key, key and first_of(key)
  end

  function keyed.remove(member)
    redis.call('ZREM', parcels, member)
  end

  -- What was removed is in the books already. The key keeps its place.
  function keyed.settled(key)
    if not first_of(key) then
      redis.call('ZREM', turns, txt(key))
    end
  end

  -- What was removed is given out, but for the rest of it.
  function keyed.given(key, first, rest)
    if rest then
      put(key, first, rest)
    end
    if key % 2 == 1 then
      redis.call('ZADD', turns, -1, txt(key))
    elseif rest or first_of(key) then
      stand_last(key)
    else
      redis.call('ZREM', turns, txt(key))
    end
  end

  -- So many more parcels of a key are under way, or fewer.
  function keyed.under_way(key, more)
    if key % 2 == 0 or more == 0 then
      return
    end
    local count = more - math.min(num(redis.call('ZSCORE', turns, txt(key)) or 0), 0)
    if count > 0 then
      redis.call('ZADD', turns, txt(-count), txt(key))
    elseif first_of(key) then
      stand_last(key)
    else
      redis.call('ZREM', turns, txt(key))
    end
  end

  -- The lanes with a key in line, so many at most; `*` for all of so many lanes where very many keys are in line: to look into
  -- each lane would take longer than to find one empty now and then.
  function keyed.lanes_in_line(most, of)
    local found, from = {}, 0
    local waiting = redis.call('ZCOUNT', turns, 1, '+inf')
    if waiting > 4 * of then
      return '*'
    end
    -- Few keys are read at once. Of many, the first one of each lane is looked up.
    if waiting <= 4 * most then
      local all = redis.call('ZRANGEBYSCORE', turns, 1, '+inf', 'WITHSCORES')
      for i = 2, #all, 2 do
        local lane = math.floor(num(all[i]) / PLACES)
        if lane >= from and #found < most then
          found[#found + 1] = txt(lane)
          from = lane + 1
        end
      end
      return table.concat(found, ',')
    end
    while #found < most do
      local next = redis.call('ZRANGEBYSCORE', turns, txt(math.max(from * PLACES, 1)), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
      if not next[1] then
        break
      end
      local lane = math.floor(num(next[2]) / PLACES)
      found[#found + 1] = txt(lane)
      from = lane + 1
    end
    return table.concat(found, ',')
  end

  return keyed
end

-- Puts parcels where they wait: those with a key with it, the others in front of all that have none, in their order.
local function return_to_pending(info, pending, parcels, turns, entries)
  local front, keyed = {}, nil
  for _, entry in ipairs(entries) do
    local key = key_of(entry)
    if key then
      local _, first = read_head(entry)
      keyed = keyed or keyed_in(info, parcels, turns)
      keyed.add(key, first, entry)
    else
      front[#front + 1] = entry
    end
  end
  to_front(pending, front)
end
