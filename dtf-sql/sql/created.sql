-- The tasks that these requests made. The marker stands for the requests. Parameters: request_ids. Result: rows, the id and
-- the request_id.
SELECT id, request_id FROM tbl_task WHERE request_id IN (/* rows */)
