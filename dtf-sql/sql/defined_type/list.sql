-- The types that are defined, by name. Parameters: the name to begin above, the most rows. Result: rows.
SELECT * FROM tbl_task_type WHERE name > ? ORDER BY name LIMIT ?
