-- Deletes a type. Parameters: the name. Result: a row is affected where it was there.
DELETE FROM tbl_task_type WHERE name = ?
