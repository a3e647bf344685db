-- Notes that a task is to end, for good; one that waits for others does so no more. Asking for the same again keeps the first time and reason.
-- Assignments may see those before them (MySQL), so their order counts.
-- Parameters: the time, the control, the reason, the control, id, the control. Result: one row is affected, or none.
UPDATE tbl_task
SET changes = changes + 1,
    cancel_time = COALESCE(cancel_time, ?),
    reason = CASE WHEN control = ? THEN reason ELSE ? END,
    control = ?,
    phase = 0
WHERE id = ? AND phase IN (0, 3) AND control IN (0, 1, ?)
