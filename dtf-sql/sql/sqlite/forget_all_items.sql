-- Deletes the items of tasks. The marker stands for as many ids as parameters.
-- Result: as many rows are affected.
DELETE FROM tbl_task_item WHERE task_id IN (/* ids */)
