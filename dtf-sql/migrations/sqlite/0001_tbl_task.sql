-- tbl_task, the truth about tasks. Times are milliseconds since the Unix epoch, spans are milliseconds.
-- The widths are those of dtf_model::param.
CREATE TABLE IF NOT EXISTS tbl_task (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used again
    request_id      TEXT    NOT NULL UNIQUE,            -- names the creation, so that repeating it makes no second task
    task_type       INTEGER NOT NULL,
    name            TEXT    NOT NULL CHECK (length(name) <= 128),
    description     TEXT    NOT NULL CHECK (length(description) <= 1024),
    uid             INTEGER NOT NULL,
    creator         TEXT    NOT NULL CHECK (length(creator) <= 128),
    resource_group  TEXT    NOT NULL CHECK (length(resource_group) <= 128),
    priority        INTEGER NOT NULL,
    timeout         INTEGER NOT NULL,
    type_param      TEXT    NOT NULL,                   -- JSON
    task_status     INTEGER NOT NULL,                   -- 1 created, 2 running, 3 paused, 4 cancelled, 5 completed, 6 exceptional
    phase           INTEGER NOT NULL DEFAULT 0,         -- 0 not ended, 1 ended and its queues may be there, 2 they are gone
    control         INTEGER NOT NULL DEFAULT 0,         -- what is wanted: 0 run, 1 pause, 2 cancel, 3 abort
    run_epoch       INTEGER NOT NULL DEFAULT 0,
    changes         INTEGER NOT NULL DEFAULT 0,         -- grows with every update, so that each one changes its row
    create_time     INTEGER NOT NULL,
    next_check_time INTEGER,                            -- not to be started before
    start_time      INTEGER,
    finish_time     INTEGER,
    time_cost       INTEGER,                            -- from start to finish
    paused_time     INTEGER,                            -- when it was paused, while it is
    paused_cost     INTEGER NOT NULL DEFAULT 0,         -- how long it has been paused before
    cancel_time     INTEGER,
    created_count   INTEGER NOT NULL DEFAULT 0,
    succeeded_count INTEGER NOT NULL DEFAULT 0,
    failed_count    INTEGER NOT NULL DEFAULT 0,
    cancelled_count INTEGER NOT NULL DEFAULT 0,
    timed_out_count INTEGER NOT NULL DEFAULT 0,
    reason          TEXT    NOT NULL DEFAULT '',
    result          TEXT                                -- JSON
);
-- Tasks that have not ended, and ended ones whose queues may be there, each by id.
CREATE INDEX IF NOT EXISTS tbl_task_phase ON tbl_task (phase, id, finish_time);
-- Lists, newest first.
CREATE INDEX IF NOT EXISTS tbl_task_status ON tbl_task (task_status, id);
CREATE INDEX IF NOT EXISTS tbl_task_type ON tbl_task (task_type, id);
CREATE INDEX IF NOT EXISTS tbl_task_group ON tbl_task (resource_group, id);
CREATE INDEX IF NOT EXISTS tbl_task_creator ON tbl_task (creator, id);
CREATE INDEX IF NOT EXISTS tbl_task_name ON tbl_task (name, id);
