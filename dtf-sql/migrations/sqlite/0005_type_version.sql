-- tbl_task: the least version of the type's plugin that may work on a task.
ALTER TABLE tbl_task ADD COLUMN type_version INTEGER NOT NULL DEFAULT 0;
