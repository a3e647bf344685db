-- The numbers of the tasks of flows, by status, whether they wait, and whether subtasks failed. The marker stands for the ids.
-- Parameters: flow_ids. Result: rows.
SELECT flow_id, task_status,
    CASE WHEN phase = 3 THEN 1 ELSE 0 END AS waits,
    CASE WHEN failed_count + timed_out_count > 0 THEN 1 ELSE 0 END AS failed,
    COUNT(*) AS number
FROM tbl_task WHERE flow_id IN (/* rows */)
GROUP BY flow_id, task_status, waits, failed
