-- The earliest time at which a schedule of a share wants attention.
-- Parameters: the modulus and the factor of the mapping, the modulus again, how many shares, which share. Result: one row, or none.
SELECT next_at AS number FROM tbl_schedule
WHERE next_at > -1 AND id % ? * ? % ? % ? = ?
ORDER BY next_at, id
LIMIT 1
