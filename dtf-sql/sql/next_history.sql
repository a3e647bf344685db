-- The first group and type behind another one of which there are tasks.
-- Parameters: the group to begin behind, twice, the type to begin above. Result: one row, or none.
SELECT resource_group, task_type FROM tbl_task
WHERE resource_group > ? OR (resource_group = ? AND task_type > ?)
ORDER BY resource_group, task_type
LIMIT 1
