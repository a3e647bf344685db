-- Ends tasks that wait. The marker stands for the ids.
-- Assignments may see those before them (MySQL), so their order counts.
-- Parameters: the time, twice (for the pause), the time, the time (for the hooks), the reason, the status, ids. Result: nothing that is looked at.
UPDATE tbl_task
SET changes = changes + 1,
    paused_cost = paused_cost + CASE WHEN paused_time < ? THEN ? - paused_time ELSE 0 END,
    paused_time = NULL,
    time_cost = 0,
    finish_time = ?,
    hook_at = CASE WHEN hooks IS NULL THEN NULL ELSE ? END,
    reason = ?,
    task_status = ?,
    phase = 1
WHERE id IN (/* rows */) AND phase = 3
