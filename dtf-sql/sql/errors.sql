-- The failures of a run, by key, without their bodies. Parameters: task_id, run_epoch. Result: rows.
SELECT emit_epoch, seq, timed_out, error, NULL AS body FROM tbl_task_failure
WHERE task_id = ? AND run_epoch = ?
ORDER BY emit_epoch, seq
