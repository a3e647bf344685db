-- The failures of a run, by key.
-- Parameters: task_id, run_epoch, the emit_epoch to begin at, twice, the seq to begin above, the most rows. Result: rows.
SELECT * FROM tbl_task_failure
WHERE task_id = ? AND run_epoch = ? AND (emit_epoch > ? OR (emit_epoch = ? AND seq > ?))
ORDER BY emit_epoch, seq
LIMIT ?
