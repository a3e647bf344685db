-- The actions that have not ended and that nobody works on. Parameters: the time, the most rows. Result: rows without the tasks.
SELECT id, spec, state, revision, create_time FROM tbl_bulk WHERE until_time <= ? ORDER BY until_time LIMIT ?
