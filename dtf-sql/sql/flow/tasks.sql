-- The tasks of a flow. Parameters: flow_id. Result: rows.
SELECT * FROM tbl_task WHERE flow_id = ? ORDER BY id
