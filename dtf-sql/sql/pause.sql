-- Pauses a task that is not to end. Pausing it again keeps the first time and reason.
-- Assignments may see those before them (MySQL), so their order counts.
-- Parameters: the time, the reason, id. Result: one row is affected, or none.
UPDATE tbl_task
SET changes = changes + 1,
    paused_time = CASE WHEN control = 1 THEN paused_time ELSE ? END,
    reason = CASE WHEN control = 1 THEN reason ELSE ? END,
    task_status = 3,
    control = 1
WHERE id = ? AND phase IN (0, 3) AND control IN (0, 1)
