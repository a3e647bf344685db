-- Changes the progress of a schedule that is as it was read.
-- Parameters: the state, next_at, id, the revision. Result: one row is affected, or none.
UPDATE tbl_schedule SET revision = revision + 1, state = ?, next_at = ? WHERE id = ? AND revision = ?
