-- Notes a use of a token, unless a later one is noted. Parameters: the time, the id, the time.
UPDATE tbl_token SET use_time = ? WHERE id = ? AND COALESCE(use_time, 0) < ?
