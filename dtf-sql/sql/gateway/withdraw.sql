-- Deletes a gateway, and those whose word holds no more. Parameters: its id, the time.
DELETE FROM tbl_gateway WHERE id = ? OR until_time <= ?
