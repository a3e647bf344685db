-- Parcels as they are stored: version byte, then as variable-length numbers the epoch, the first subtask, the attempt and
-- the count of the bodies, then each body behind its length. Written and read by `codec.rs` too.
local VERSION = string.char(1)

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

-- Epoch, first subtask, attempt, count, and where the bodies begin.
local function read_head(entry)
  if string.sub(entry, 1, 1) ~= VERSION then
    error('a parcel was written by a newer version')
  end
  local epoch, first, attempt, count, at
  epoch, at = read_number(entry, 2)
  first, at = read_number(entry, at)
  attempt, at = read_number(entry, at)
  count, at = read_number(entry, at)
  return epoch, first, attempt, count, at
end

-- The body that begins at `at`, and where the next one does.
local function read_body(entry, at)
  local length
  length, at = read_number(entry, at)
  return string.sub(entry, at, at + length - 1), at + length
end

local function single(epoch, seq, attempt, body)
  return VERSION .. number(epoch) .. number(seq) .. number(attempt) .. number(1) .. number(#body) .. body
end

-- The first so many subtasks of a parcel, and the others, as parcels of their own.
local function split(entry, epoch, first, attempt, count, at, most)
  local middle = at
  for _ = 1, most do
    local length
    length, middle = read_number(entry, middle)
    middle = middle + length
  end
  local function part(from, size, bodies)
    return VERSION .. number(epoch) .. number(from) .. number(attempt) .. number(size) .. bodies
  end
  return part(first, most, string.sub(entry, at, middle - 1)),
    part(first + most, count - most, string.sub(entry, middle))
end

-- The name of a parcel in the hash of those that run.
local function name(epoch, first)
  return txt(epoch) .. ':' .. txt(first)
end

-- Those that run are stored with the shard that they are recorded for: `shard:parcel`.
local function read_running(value)
  local colon = string.find(value, ':', 1, true)
  return string.sub(value, 1, colon - 1), string.sub(value, colon + 1)
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
