-- Inserts a task of a group that is there, or finds the one that the request made before. Names have to agree in length too,
-- as MySQL does not see trailing spaces.
-- Parameters: request_id, task_type, name, description, uid, creator, resource_group, priority, timeout, type_param,
-- next_check_time, max_running, max_rate, retry_of, type_version, create_time, the group, twice. Result: no rows; the last insert id is the task's, new or not, or 0 where
-- there is no such group.
INSERT INTO tbl_task
    (request_id, task_type, name, description, uid, creator, resource_group, priority, timeout, type_param,
     next_check_time, max_running, max_rate, retry_of, type_version, create_time, task_status, reason)
SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ''
FROM tbl_resource_group WHERE tbl_resource_group.name = ? AND LENGTH(tbl_resource_group.name) = LENGTH(?)
ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(tbl_task.id)
