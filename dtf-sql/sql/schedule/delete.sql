-- Deletes a schedule. Parameters: id. Result: one row is affected, or none.
DELETE FROM tbl_schedule WHERE id = ?
