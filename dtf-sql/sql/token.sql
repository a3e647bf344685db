-- A token. Parameters: the id, twice, as MySQL does not see trailing spaces.
SELECT * FROM tbl_token WHERE id = ? AND LENGTH(id) = LENGTH(?)
