-- The tasks that fit, newest first. The conditions asked for, those of filter.rs, stand in the place of the marker.
-- Parameters: the id to begin below, those of the conditions, the most rows. Result: rows.
SELECT * FROM tbl_task
WHERE id < ? /* conditions */
ORDER BY id DESC
LIMIT ?
