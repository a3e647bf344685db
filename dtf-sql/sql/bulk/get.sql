-- One action on many tasks. Parameters: id. Result: its row without the tasks, if there is one.
SELECT id, spec, state, revision, create_time FROM tbl_bulk WHERE id = ?
