-- Notes that dependents of a task have been told of its end. The marker stands for the dependents.
-- Parameters: on_id, task_ids. Result: nothing that is looked at.
UPDATE tbl_task_after SET told = 1 WHERE on_id = ? AND told = 0 AND task_id IN (/* rows */)
