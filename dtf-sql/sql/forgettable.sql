-- The tasks of a group and type that ended before a time, the first ones first, but for those whose failures are run again
-- those of which the end is waited
-- for together with others, and those whose hooks have not been settled.
-- Parameters: the group, the type, the time, the most rows. Result: rows, the ids.
SELECT id AS number FROM tbl_task
WHERE resource_group = ? AND task_type = ? AND phase = 2 AND finish_time < ?
    AND hook_at IS NULL
    AND NOT EXISTS (SELECT 1 FROM tbl_task AS again WHERE again.retry_of = tbl_task.id AND again.phase IN (0, 3))
    AND NOT EXISTS (SELECT 1 FROM tbl_task_after AS dependent JOIN tbl_task AS waiting ON waiting.id = dependent.task_id
        WHERE dependent.on_id = tbl_task.id AND waiting.phase = 3)
ORDER BY finish_time, id
LIMIT ?
