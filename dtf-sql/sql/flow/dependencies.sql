-- What tasks wait for. The marker stands for the ids. Parameters: ids. Result: rows.
SELECT task_id, on_id, cond, label FROM tbl_task_after WHERE task_id IN (/* rows */) ORDER BY task_id, on_id
