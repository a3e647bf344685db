-- Adds an action on many tasks; one that is there stays as it is.
-- Parameters: id, spec, tasks, state, until_time, create_time. Result: none or one row is affected.
INSERT IGNORE INTO tbl_bulk (id, spec, tasks, state, revision, until_time, create_time) VALUES (?, ?, ?, ?, 0, ?, ?)
