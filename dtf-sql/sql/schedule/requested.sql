-- The schedule that a request made. Parameters: request_id. Result: its row, if there is one.
SELECT * FROM tbl_schedule WHERE request_id = ?
