-- Deletes old actions on many tasks, the oldest first. Parameters: the time to stop before, the most rows.
DELETE FROM tbl_bulk WHERE id IN (SELECT id FROM tbl_bulk WHERE create_time < ? ORDER BY create_time LIMIT ?)
