-- The dependents of a task that have not been told of its end, each with the number of its conditions that are not met.
-- A condition is met by a predecessor that has ended (phase 1 or 2) as it says: completed without failed subtasks (1), anyhow (2), or
-- exceptional or with failed subtasks (3).
-- Parameters: on_id, the task_id to begin above, the most rows. Result: rows.
SELECT dependent.task_id, dependent.cond, COALESCE(task.phase, 0) AS phase, COALESCE(task.takes_results, 0) AS takes_results,
    COALESCE(task.has_dependents, 0) AS has_dependents,
    (SELECT COUNT(*)
     FROM tbl_task_after AS every
     LEFT JOIN tbl_task AS predecessor ON predecessor.id = every.on_id
     WHERE every.task_id = dependent.task_id
       AND CASE WHEN predecessor.phase IN (1, 2) AND (
                every.cond = 2
                OR (every.cond = 1 AND predecessor.task_status = 5
                    AND predecessor.failed_count + predecessor.timed_out_count = 0)
                OR (every.cond = 3 AND (predecessor.task_status = 6
                    OR (predecessor.task_status = 5 AND predecessor.failed_count + predecessor.timed_out_count > 0))))
           THEN 0 ELSE 1 END = 1) AS unmet
FROM tbl_task_after AS dependent
LEFT JOIN tbl_task AS task ON task.id = dependent.task_id
WHERE dependent.on_id = ? AND dependent.told = 0 AND dependent.task_id > ?
ORDER BY dependent.task_id
LIMIT ?
