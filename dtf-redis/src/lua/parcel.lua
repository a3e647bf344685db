-- Parcels as they are stored: version byte, then as variable-length numbers the epoch, the first subtask, TRIES times the
-- attempt and the deaths, and the count of the bodies, then each body behind its length. Those with a key have another version,
-- and the key right behind it. Written and read by `codec.rs` too.
local PLAIN, KEYED = string.char(1), string.char(2)
local TRIES = 8 -- deaths end at 7, as `dtf_model::queue` says

local function read_number(text, at)
  local value, scale = 0, 1
  while true do
    local byte = string.byte(text, at)
    at = at + 1
    if byte < 128 then
      return value + byte * scale, at
    end
    value = value + (byte - 128) * scale
    scale = scale * 128
  end
end

local function number(value)
  local bytes = {}
  while value >= 128 do
    bytes[#bytes + 1] = string.char(value % 128 + 128)
    value = math.floor(value / 128)
  end
  bytes[#bytes + 1] = string.char(value)
  return table.concat(bytes)
end

-- The key of a parcel, if it has one, and where the rest begins.
local function key_of(entry)
  local version = string.sub(entry, 1, 1)
  if version == PLAIN then
    return nil, 2
  end
  if version ~= KEYED then
    error('an entry has format ' .. string.byte(version) .. ', which this version does not read yet: update this process')
  end
  return read_number(entry, 2)
end

-- Epoch, first subtask, attempt, count, where the bodies begin, deaths, and key.
local function read_head(entry)
  local key, at = key_of(entry)
  local epoch, first, tries, count
  epoch, at = read_number(entry, at)
  first, at = read_number(entry, at)
  tries, at = read_number(entry, at)
  count, at = read_number(entry, at)
  return epoch, first, math.floor(tries / TRIES), count, at, tries % TRIES, key
end

-- The body that begins at `at`, and where the next one does.
local function read_body(entry, at)
  local length
  length, at = read_number(entry, at)
  return string.sub(entry, at, at + length - 1), at + length
end

-- A parcel of subtasks whose bodies are encoded already.
local function parcel_of(epoch, first, attempt, deaths, count, bodies, key)
  local head = key and KEYED .. number(key) or PLAIN
  return head .. number(epoch) .. number(first) .. number(attempt * TRIES + deaths) .. number(count) .. bodies
end

local function single(epoch, seq, attempt, deaths, body, key)
  return parcel_of(epoch, seq, attempt, deaths, 1, number(#body) .. body, key)
end

-- The first so many subtasks of a parcel, and the others, as parcels of their own.
local function split(entry, epoch, first, attempt, deaths, count, at, most, key)
  local middle = at
  for _ = 1, most do
    local length
    length, middle = read_number(entry, middle)
    middle = middle + length
  end
  return parcel_of(epoch, first, attempt, deaths, most, string.sub(entry, at, middle - 1), key),
    parcel_of(epoch, first + most, attempt, deaths, count - most, string.sub(entry, middle), key)
end

-- The name of a parcel in the hash of those that run.
local function name(epoch, first)
  return txt(epoch) .. ':' .. txt(first)
end

-- Those that run are stored with the shard that they are recorded for, `shard:parcel`; what goes on of a parcel, with the
-- first subtask of what was shipped too, `shard/first:parcel`. One that is marked has a `!` before the colon.
local function read_running(value)
  local colon = string.find(value, ':', 1, true)
  local place = string.sub(value, 1, colon - 1)
  local shard, with, marked = string.match(place, '^(%d+)/?(%d*)(!?)$')
  return shard, string.sub(value, colon + 1), with ~= '' and with, marked == '!'
end

-- The bytes of parcels as they are stored, from that one on.
local function bytes_of(entries, from)
  local bytes = 0
  for i = from or 1, #entries do
    bytes = bytes + #entries[i]
  end
  return bytes
end

-- Puts parcels in front of the pending ones, the first of them at the very front.
local function to_front(pending, entries)
  local reversed = {}
  for i = #entries, 1, -1 do
    reversed[#reversed + 1] = entries[i]
  end
  in_portions('LPUSH', pending, reversed, 1)
end

-- Delayed ones are ordered by due time, then by the number of the delay, eight bytes before the parcel.
local function delayed_member(delay, entry)
  return struct.pack('>I8', delay) .. entry
end
