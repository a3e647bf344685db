-- The ended tasks whose hooks want attention, the longest due ones first. Parameters: the time, the most rows. Result: rows.
SELECT * FROM tbl_task WHERE hook_at <= ? ORDER BY hook_at, id LIMIT ?
