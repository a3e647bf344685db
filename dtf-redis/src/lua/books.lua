-- Deletes what only those need who count: a task that has ended counts nothing more. `KEYS` from `from` on are chunks, full,
-- settled, keyed, turns and the first bitmap of each stream. What has further bitmaps keeps them all until it is purged.
local FIRST_BITMAPS = { ['0'] = true, ['68719476736'] = true }
local function end_books(from)
  for _, chunk in ipairs(redis.call('HKEYS', KEYS[from])) do
    if not FIRST_BITMAPS[chunk] then
      return
    end
  end
  redis.call('UNLINK', unpack(KEYS, from))
end
