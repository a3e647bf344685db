-- The flows, the newest first. Parameters: the id to begin below, the most rows. Result: rows.
SELECT * FROM tbl_flow WHERE id < ? ORDER BY id DESC LIMIT ?
