-- Starts the next run of a task that has not ended. Assignments may see those before them (MySQL), so their order counts.
-- Parameters: the time, id, the run expected. Result: one row is affected, or none.
UPDATE tbl_task
SET changes = changes + 1,
    run_epoch = run_epoch + 1,
    start_time = COALESCE(start_time, ?),
    task_status = CASE WHEN task_status = 1 THEN 2 ELSE task_status END
WHERE id = ? AND phase = 0 AND run_epoch = ?
