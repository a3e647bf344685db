-- Deletes what tasks waited for. The marker stands for as many ids as parameters. Result: as many rows are affected.
DELETE FROM tbl_task_after WHERE task_id IN (/* ids */)
