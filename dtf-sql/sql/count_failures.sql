-- How many failures of a run are kept. Parameters: task_id, run_epoch. Result: one row, the number.
SELECT COUNT(*) AS number FROM tbl_task_failure WHERE task_id = ? AND run_epoch = ?
