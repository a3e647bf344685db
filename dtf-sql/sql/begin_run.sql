-- Starts the next run of a task that has not ended. With the first one its time begins: pauses before it count no more.
-- Assignments may see those before them (MySQL), so their order counts.
-- Parameters: the time, twice, id, the run expected. Result: one row is affected, or none.
UPDATE tbl_task
SET changes = changes + 1,
    run_epoch = run_epoch + 1,
    paused_cost = CASE WHEN start_time IS NULL THEN 0 ELSE paused_cost END,
    paused_time = CASE WHEN start_time IS NULL AND paused_time IS NOT NULL THEN ? ELSE paused_time END,
    start_time = COALESCE(start_time, ?),
    task_status = CASE WHEN task_status = 1 THEN 2 ELSE task_status END
WHERE id = ? AND phase = 0 AND run_epoch = ?
