-- Deletes the failures of runs before one. Parameters: task_id, run_epoch. Result: as many rows are affected.
DELETE FROM tbl_task_failure WHERE task_id = ? AND run_epoch < ?
