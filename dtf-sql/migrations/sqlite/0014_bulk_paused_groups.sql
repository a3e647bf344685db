-- tbl_bulk: actions on many tasks; see dtf_model::bulk. tbl_resource_group: groups may be paused. A new table, and a column with a default,
-- so that programs from version 5 on go on.
CREATE TABLE IF NOT EXISTS tbl_bulk (
    id          TEXT    NOT NULL PRIMARY KEY,
    spec        TEXT    NOT NULL,  -- JSON
    tasks       TEXT    NOT NULL,  -- JSON: ids, in the order in which it goes through them
    state       TEXT    NOT NULL,  -- JSON
    revision    INTEGER NOT NULL,  -- so often was the state written
    until_time  INTEGER,           -- until when a process works on it; NULL once it has ended
    create_time INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS tbl_bulk_until ON tbl_bulk (until_time);
CREATE INDEX IF NOT EXISTS tbl_bulk_created ON tbl_bulk (create_time);
ALTER TABLE tbl_resource_group ADD COLUMN paused INTEGER NOT NULL DEFAULT 0;  -- 1 while nothing of its tasks is dispatched
