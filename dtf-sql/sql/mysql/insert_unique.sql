-- Inserts a task with a key, unless its request or its key is there already. The marker stands for the row.
-- Parameters: those of insert.sql, unique_key, unique_while, unique_until. Result: nothing that is looked at.
INSERT INTO tbl_task
    (request_id, task_type, name, description, uid, creator, resource_group, priority, timeout, type_param,
     next_check_time, max_running, max_rate, retry_of, type_version, create_time, hooks, unique_key, unique_while, unique_until,
     task_status, reason)
VALUES /* rows */
ON DUPLICATE KEY UPDATE id = tbl_task.id
