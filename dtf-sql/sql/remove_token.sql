-- Deletes a token. Parameters: the id. Result: a row is affected where it was there.
DELETE FROM tbl_token WHERE id = ?
