-- A type that is defined. Parameters: the name, twice, as MySQL does not see trailing spaces.
SELECT * FROM tbl_task_type WHERE name = ? AND LENGTH(name) = LENGTH(?)
