-- The end of the task of a group and type before which so many ended later.
-- Parameters: the group, the type, how many. Result: one row, the time, or none where there are not so many.
SELECT finish_time AS number FROM tbl_task
WHERE resource_group = ? AND task_type = ? AND phase = 2
ORDER BY finish_time DESC, id DESC
LIMIT 1 OFFSET ?
