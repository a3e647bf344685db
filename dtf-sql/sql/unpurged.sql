-- The ended tasks of a share whose queues may be there, by id.
-- Parameters: the latest finish_time, how many shares, which share, the most rows. Result: rows.
SELECT * FROM tbl_task
WHERE phase = 1 AND finish_time <= ? AND id % ? = ?
ORDER BY id
LIMIT ?
