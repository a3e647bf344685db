-- Inserts tasks; those whose request is there already stay as they are. The marker stands for the rows.
-- Parameters of each row: request_id, task_type, name, description, uid, creator, resource_group, priority, timeout,
-- type_param, next_check_time, max_running, max_rate, retry_of, type_version, create_time, hooks. Result: nothing that is looked at;
-- created.sql has the ids.
INSERT INTO tbl_task
    (request_id, task_type, name, description, uid, creator, resource_group, priority, timeout, type_param,
     next_check_time, max_running, max_rate, retry_of, type_version, create_time, hooks, task_status, reason)
VALUES /* rows */
ON DUPLICATE KEY UPDATE id = tbl_task.id
