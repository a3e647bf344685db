-- The task that a request made, or else the one that has a key.
-- Parameters: request_id, the key, request_id. Result: one row, the id, or none.
SELECT id AS number FROM tbl_task WHERE request_id = ? OR unique_key = ?
ORDER BY CASE WHEN request_id = ? THEN 0 ELSE 1 END
LIMIT 1
