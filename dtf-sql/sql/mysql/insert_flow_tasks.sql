-- Inserts tasks of a flow, or some that wait; those whose request is there already stay as they are. The marker stands for the rows.
-- Parameters of each row: those of insert.sql, the phase, the request of the flow (NULL for none), flow_task, takes_results,
-- has_dependents. Result: nothing that is looked at.
INSERT INTO tbl_task
    (request_id, task_type, name, description, uid, creator, resource_group, priority, timeout, type_param,
     next_check_time, max_running, max_rate, retry_of, type_version, create_time, hooks, phase, flow_id, flow_task, takes_results,
     has_dependents, task_status, reason)
VALUES /* rows */
ON DUPLICATE KEY UPDATE id = tbl_task.id
