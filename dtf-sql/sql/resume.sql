-- Lets a task that is not to end go on. One that was not paused stays as it is; one that waits for others is a created one again.
-- Assignments may see those before them (MySQL), so their order counts.
-- Parameters: the time, twice, the reason, id. Result: one row is affected, or none.
UPDATE tbl_task
SET changes = changes + 1,
    paused_cost = paused_cost + CASE WHEN paused_time < ? THEN ? - paused_time ELSE 0 END,
    paused_time = NULL,
    reason = CASE WHEN control = 0 THEN reason ELSE ? END,
    task_status = CASE WHEN task_status <> 3 THEN task_status WHEN phase = 3 THEN 1 ELSE 2 END,
    control = 0
WHERE id = ? AND phase IN (0, 3) AND control IN (0, 1)
