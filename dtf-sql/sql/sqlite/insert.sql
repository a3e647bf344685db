-- Inserts a task, or finds the one that the request made before.
-- Parameters: request_id, task_type, name, description, uid, creator, resource_group, priority, timeout, type_param,
-- next_check_time, create_time. Result: one row, the id.
INSERT INTO tbl_task
    (request_id, task_type, name, description, uid, creator, resource_group, priority, timeout, type_param,
     next_check_time, create_time, task_status, reason)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, '')
ON CONFLICT (request_id) DO UPDATE SET request_id = excluded.request_id
RETURNING id
