-- tbl_cluster: what all processes of a cluster have to agree on, and what outlives the coordination store.
CREATE TABLE IF NOT EXISTS tbl_cluster (
    name  TEXT NOT NULL PRIMARY KEY,  -- what it is
    value TEXT NOT NULL
) WITHOUT ROWID;
-- tbl_task: limits on a task, and of which task it is the retry.
ALTER TABLE tbl_task ADD COLUMN max_running INTEGER;  -- subtasks that are dispatched and not reported, at most
ALTER TABLE tbl_task ADD COLUMN max_rate INTEGER;     -- subtasks dispatched a second, at most
ALTER TABLE tbl_task ADD COLUMN retry_of INTEGER;     -- the task whose failed subtasks it runs again
