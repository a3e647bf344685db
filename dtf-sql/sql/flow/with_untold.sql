-- The tasks that have ended and have dependents that have not been told.
-- Parameters: the id to begin above, the most rows. Result: rows, the ids.
SELECT DISTINCT dependent.on_id AS number
FROM tbl_task_after AS dependent
JOIN tbl_task AS predecessor ON predecessor.id = dependent.on_id
WHERE dependent.told = 0 AND dependent.on_id > ? AND predecessor.phase IN (1, 2)
ORDER BY dependent.on_id
LIMIT ?
