-- Notes what tasks wait for; both are named by their requests. The marker stands for the rows.
-- Parameters of each row: the request of the task, that of the task it waits for, the condition, the label. Result: as many rows are
-- affected.
INSERT INTO tbl_task_after (task_id, on_id, cond, label)
SELECT task.id, predecessor.id, called.cond, called.label
FROM (/* rows */) AS called
JOIN tbl_task AS task ON task.request_id = called.task
JOIN tbl_task AS predecessor ON predecessor.request_id = called.predecessor
ON DUPLICATE KEY UPDATE told = tbl_task_after.told
