-- Writes the first version of a type where none has its name. What would not fit was refused before.
-- Parameters: version, description, param_schema, template, update_time, updater, name. Result: a row is affected where it was written.
INSERT IGNORE INTO tbl_task_type (version, description, param_schema, template, update_time, updater, name)
VALUES (?, ?, ?, ?, ?, ?, ?)
