-- tbl_flow: tasks that were created together. tbl_task_after: what tasks wait for.
-- tbl_task: the flow of a task and its name there, whether its parameter takes results, whether others depend on it. A task that waits
-- for others has phase 3, which programs of earlier versions pass over. So programs from version 5 on go on.
CREATE TABLE IF NOT EXISTS tbl_flow (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used again
    request_id  TEXT    NOT NULL UNIQUE,            -- names the creation
    name        TEXT    NOT NULL CHECK (length(name) <= 128),
    retry_of    INTEGER,                            -- the flow whose failed tasks it runs again
    create_time INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS tbl_task_after (
    task_id INTEGER NOT NULL,
    on_id   INTEGER NOT NULL,            -- the task that it waits for
    cond    INTEGER NOT NULL,            -- on its end: 1 completed, 2 ended, 3 failed
    label   TEXT    NOT NULL,            -- how the parameter refers to it
    told    INTEGER NOT NULL DEFAULT 0,  -- 1 once the waiting task has been told of the end
    PRIMARY KEY (task_id, on_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tbl_task_after_on ON tbl_task_after (on_id, told, task_id);
CREATE INDEX IF NOT EXISTS tbl_task_after_told ON tbl_task_after (told, on_id);
ALTER TABLE tbl_task ADD COLUMN flow_id INTEGER;
ALTER TABLE tbl_task ADD COLUMN flow_task TEXT;
ALTER TABLE tbl_task ADD COLUMN takes_results INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tbl_task ADD COLUMN has_dependents INTEGER NOT NULL DEFAULT 0;
CREATE INDEX IF NOT EXISTS tbl_task_flow ON tbl_task (flow_id, id);
