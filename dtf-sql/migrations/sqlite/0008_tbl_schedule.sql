-- tbl_schedule: tasks that are created again and again. A table of its own, so that programs from version 5 on go on.
CREATE TABLE IF NOT EXISTS tbl_schedule (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used again
    request_id  TEXT    NOT NULL UNIQUE,            -- names the creation
    name        TEXT    NOT NULL UNIQUE CHECK (length(name) <= 128),
    spec        TEXT    NOT NULL,                   -- what the user said, JSON
    state       TEXT    NOT NULL,                   -- how far it is, JSON
    next_at     INTEGER,                            -- when it wants attention next, in milliseconds since the Unix epoch
    revision    INTEGER NOT NULL DEFAULT 0,         -- grows with every change of the state
    create_time INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS tbl_schedule_next ON tbl_schedule (next_at, id);
