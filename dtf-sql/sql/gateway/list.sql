-- The gateways whose word holds, by id. Parameters: the id to begin above, the time, the most rows. Result: rows.
SELECT * FROM tbl_gateway WHERE id > ? AND until_time > ? ORDER BY id LIMIT ?
