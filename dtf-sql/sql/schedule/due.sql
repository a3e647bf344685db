-- The schedules of a share that want attention, the first ones first.
-- Parameters: the latest time, the modulus and the factor of the mapping, the modulus again, how many shares, which share, the most rows. Result: rows.
SELECT * FROM tbl_schedule
WHERE next_at <= ? AND id % ? * ? % ? % ? = ?
ORDER BY next_at, id
LIMIT ?
