-- Writes how far an action is. Parameters: state, until_time, id, revision. Result: a row is affected where the revision is that one.
UPDATE tbl_bulk SET state = ?, until_time = ?, revision = revision + 1 WHERE id = ? AND revision = ?
