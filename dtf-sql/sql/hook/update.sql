-- Writes the progress of the hooks of an ended task, if nobody did since they were read.
-- Parameters: the records, the time of attention, id, the time that was read, -1 for none. Result: one row is affected, or none.
UPDATE tbl_task SET hooks = ?, hook_at = ? WHERE id = ? AND phase IN (1, 2) AND COALESCE(hook_at, -1) = ?
