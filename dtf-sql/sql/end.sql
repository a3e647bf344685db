-- Notes that a task is to end, for good. Asking for the same again keeps the first time and reason.
-- Assignments may see those before them (MySQL), so their order counts.
-- Parameters: the time, the control, the reason, the control, id, the control. Result: one row is affected, or none.
UPDATE tbl_task
SET changes = changes + 1,
    cancel_time = COALESCE(cancel_time, ?),
    reason = CASE WHEN control = ? THEN reason ELSE ? END,
    control = ?
WHERE id = ? AND phase = 0 AND control IN (0, 1, ?)
