-- tbl_token: the tokens of the API, without their secrets; tbl_audit: the changes asked for;
-- tbl_task_result: results that are kept with their task. The widths are those of
-- dtf_model::token and dtf_model::audit. New tables only, so that programs from version 5 on go on.
INSERT INTO tbl_cluster (name, value) VALUES ('schema.accepts', '5')
    ON CONFLICT (name) DO UPDATE SET value = excluded.value;
CREATE TABLE IF NOT EXISTS tbl_token (
    id          TEXT    NOT NULL PRIMARY KEY,
    digest      TEXT    NOT NULL,  -- SHA-256 of the secret, in hex
    name        TEXT    NOT NULL,
    role        INTEGER NOT NULL,
    of_groups   TEXT    NOT NULL,  -- JSON: the resource groups that it is limited to
    of_types    TEXT    NOT NULL,  -- JSON: the task types that a worker with it may execute
    create_time INTEGER NOT NULL,
    creator     TEXT    NOT NULL,
    expire_time INTEGER,
    use_time    INTEGER            -- the last use
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tbl_audit (
    id         TEXT    NOT NULL PRIMARY KEY,  -- a UUID of version 7: in the order of time
    asked_time INTEGER NOT NULL,
    actor      TEXT    NOT NULL,
    address    TEXT    NOT NULL,
    action     TEXT    NOT NULL,
    target     TEXT    NOT NULL,
    detail     TEXT    NOT NULL,
    outcome    INTEGER NOT NULL,
    request_id TEXT    NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tbl_audit_target ON tbl_audit (target, id);
CREATE INDEX IF NOT EXISTS tbl_audit_actor ON tbl_audit (actor, id);
CREATE TABLE IF NOT EXISTS tbl_task_result (
    task_id   INTEGER NOT NULL,
    run_epoch INTEGER NOT NULL,
    number    INTEGER NOT NULL,  -- in the order of collection
    body      TEXT    NOT NULL,
    PRIMARY KEY (task_id, run_epoch, number)
);
