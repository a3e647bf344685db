-- Ends a task: the only commit of its end. Assignments may see those before them (MySQL), so their order counts.
-- Parameters: the time, twice (for the pause), the time, twice (for the cost), the time, the time (for the hooks), the five counts, the reason,
-- twice, the result, the status, id, the run, three statuses of which it has to be in one (which may repeat).
-- Result: one row is affected, or none.
UPDATE tbl_task
SET changes = changes + 1,
    paused_cost = paused_cost + CASE WHEN paused_time < ? THEN ? - paused_time ELSE 0 END,
    paused_time = NULL,
    time_cost = CASE WHEN start_time < ? THEN ? - start_time ELSE 0 END,
    finish_time = ?,
    hook_at = CASE WHEN hooks IS NULL THEN NULL ELSE ? END,
    created_count = ?,
    succeeded_count = ?,
    failed_count = ?,
    cancelled_count = ?,
    timed_out_count = ?,
    reason = CASE WHEN LENGTH(?) = 0 THEN reason ELSE ? END,
    result = ?,
    task_status = ?,
    phase = 1
WHERE id = ? AND phase = 0 AND run_epoch = ? AND task_status IN (?, ?, ?)
