-- The tokens by id. Parameters: the id to begin above, the most rows. Result: rows.
SELECT * FROM tbl_token WHERE id > ? ORDER BY id LIMIT ?
