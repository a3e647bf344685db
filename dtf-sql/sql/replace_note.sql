-- Replaces a note that is as expected, or as wanted already. Parameters: the value, the name, what is expected, the value.
UPDATE tbl_cluster SET value = ? WHERE name = ? AND value IN (?, ?)
