-- The tasks of an action. Parameters: id. Result: a row with them, if there is one.
SELECT tasks FROM tbl_bulk WHERE id = ?
