-- One flow. Parameters: id. Result: its row, if there is one.
SELECT * FROM tbl_flow WHERE id = ?
