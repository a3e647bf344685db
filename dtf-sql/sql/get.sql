-- Tasks by id. The marker stands for the ids, which may repeat. Parameters: ids. Result: their rows, in any order.
SELECT * FROM tbl_task WHERE id IN (/* rows */)
