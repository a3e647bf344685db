-- Indexes only, so that programs from version 5 on go on.
INSERT INTO tbl_cluster (name, value) VALUES ('schema.accepts', '5')
    ON CONFLICT (name) DO UPDATE SET value = excluded.value;
-- Tasks that are to start later, the next one first.
CREATE INDEX IF NOT EXISTS tbl_task_start ON tbl_task (next_check_time, id);
-- The history of a group and type, by its end; only what has ended and whose queues are gone is history.
CREATE INDEX IF NOT EXISTS tbl_task_history ON tbl_task (resource_group, task_type, phase, finish_time, id);
-- The retries of a task, which read its failures.
CREATE INDEX IF NOT EXISTS tbl_task_retry ON tbl_task (retry_of, phase);
