-- One task. Parameters: id. Result: its row, if there is one.
SELECT * FROM tbl_task WHERE id = ?
