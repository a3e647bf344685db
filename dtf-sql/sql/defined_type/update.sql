-- Writes the next version of a type. Parameters: version, description, param_schema, template, update_time, updater, name, the version
-- before. Result: a row is affected where that one was there.
UPDATE tbl_task_type
SET version = ?, description = ?, param_schema = ?, template = ?, update_time = ?, updater = ?
WHERE name = ? AND version = ?
