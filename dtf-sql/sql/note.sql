-- What is noted under a name. Parameters: the name, twice, as MySQL does not see trailing spaces.
SELECT value FROM tbl_cluster WHERE name = ? AND LENGTH(name) = LENGTH(?)
