-- The last chunk of a task. Parameter: task_id. Result: a row, or none.
SELECT number FROM tbl_task_item WHERE task_id = ? ORDER BY number DESC LIMIT 1
