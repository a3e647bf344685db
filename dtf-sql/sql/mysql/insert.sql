-- Inserts a task, or finds the one that the request made before.
-- Parameters: request_id, task_type, name, description, uid, creator, resource_group, priority, timeout, type_param,
-- next_check_time, create_time. Result: no rows; the last insert id is the task's, new or not.
INSERT INTO tbl_task
    (request_id, task_type, name, description, uid, creator, resource_group, priority, timeout, type_param,
     next_check_time, create_time, task_status, reason)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, '')
ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id)
