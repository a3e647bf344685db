-- Inserts a task of a group that is there, or finds the one that the request made before.
-- Parameters: request_id, task_type, name, description, uid, creator, resource_group, priority, timeout, type_param,
-- next_check_time, max_running, max_rate, retry_of, type_version, create_time, the group, twice. Result: one row, the id, or none where there is no such group.
INSERT INTO tbl_task
    (request_id, task_type, name, description, uid, creator, resource_group, priority, timeout, type_param,
     next_check_time, max_running, max_rate, retry_of, type_version, create_time, task_status, reason)
SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ''
FROM tbl_resource_group WHERE name = ? AND LENGTH(name) = LENGTH(?)
ON CONFLICT (request_id) DO UPDATE SET request_id = excluded.request_id
RETURNING id
