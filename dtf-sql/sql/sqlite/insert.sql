-- Inserts tasks, or finds those that the requests made before. The marker stands for the rows.
-- Parameters of each row: request_id, task_type, name, description, uid, creator, resource_group, priority, timeout,
-- type_param, next_check_time, max_running, max_rate, retry_of, type_version, create_time, hooks. Result: rows, the id and the
-- request_id.
INSERT INTO tbl_task
    (request_id, task_type, name, description, uid, creator, resource_group, priority, timeout, type_param,
     next_check_time, max_running, max_rate, retry_of, type_version, create_time, hooks, task_status, reason)
VALUES /* rows */
ON CONFLICT (request_id) DO UPDATE SET request_id = excluded.request_id
RETURNING id, request_id
