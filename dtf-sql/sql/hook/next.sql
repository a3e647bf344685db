-- The time at which the first hook of an ended task wants attention. Result: one row, or none.
SELECT hook_at AS number FROM tbl_task WHERE hook_at >= 0 ORDER BY hook_at LIMIT 1
