-- One schedule. Parameters: the name, twice, as MySQL does not see trailing spaces. Result: its row, if there is one.
SELECT * FROM tbl_schedule WHERE name = ? AND LENGTH(name) = LENGTH(?)
