-- The creations of tasks by id. The marker stands for the ids. Parameters: ids. Result: rows, the id and the request_id.
SELECT id, request_id FROM tbl_task WHERE id IN (/* rows */)
