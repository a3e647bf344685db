-- The schedules by name. Parameters: the name to begin above, the most rows. Result: rows.
SELECT * FROM tbl_schedule WHERE name > ? ORDER BY name LIMIT ?
