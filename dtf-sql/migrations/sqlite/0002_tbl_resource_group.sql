-- tbl_resource_group: between whom the executors are shared. The widths are those of dtf_model::group.
CREATE TABLE IF NOT EXISTS tbl_resource_group (
    name        TEXT    NOT NULL PRIMARY KEY CHECK (length(name) <= 128),
    quota       INTEGER NOT NULL,  -- its share, in proportion to those of the others
    max_running INTEGER,           -- subtasks that are dispatched and not reported, at most
    max_rate    INTEGER,           -- subtasks dispatched a second, at most
    description TEXT    NOT NULL CHECK (length(description) <= 1024)
) WITHOUT ROWID;
-- The group that is always there, and those that tasks are in already.
INSERT OR IGNORE INTO tbl_resource_group (name, quota, description) VALUES ('default', 100, '');
INSERT OR IGNORE INTO tbl_resource_group (name, quota, description)
    SELECT DISTINCT resource_group, 100, '' FROM tbl_task;
