-- tbl_task_type: types of task that data defines; see dtf_model::defined_type. New tables only, so that programs from version 5 on go on.
-- An index had the name of the first one.
DROP INDEX IF EXISTS tbl_task_type;
CREATE INDEX IF NOT EXISTS tbl_task_by_type ON tbl_task (task_type, id);
CREATE TABLE IF NOT EXISTS tbl_task_type (
    name         TEXT    NOT NULL PRIMARY KEY,
    version      INTEGER NOT NULL,  -- so often was it defined
    description  TEXT    NOT NULL,
    param_schema TEXT    NOT NULL,  -- JSON; null where parameters may be anything
    template     TEXT    NOT NULL,  -- JSON
    update_time  INTEGER NOT NULL,
    updater      TEXT    NOT NULL
);
-- tbl_gateway: processes that remote workers are connected to; see dtf_model::gateway.
CREATE TABLE IF NOT EXISTS tbl_gateway (
    id         TEXT    NOT NULL PRIMARY KEY,
    process    TEXT    NOT NULL,
    workers    TEXT    NOT NULL,  -- JSON
    connected  INTEGER NOT NULL,
    until_time INTEGER NOT NULL
);
