-- The results of a run, by number. Parameters: task_id, run_epoch, the number to begin at, the most rows. Result: rows.
SELECT number, body FROM tbl_task_result
WHERE task_id = ? AND run_epoch = ? AND number >= ?
ORDER BY number
LIMIT ?
