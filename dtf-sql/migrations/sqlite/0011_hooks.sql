-- tbl_task: who is told of a task's end, and when that wants attention. Columns that may be empty, so that programs from version 5 on
-- go on; the receivers of tasks that those end are not told.
ALTER TABLE tbl_task ADD COLUMN hooks TEXT;       -- receivers and the progress of their deliveries, in JSON; NULL where there are none
ALTER TABLE tbl_task ADD COLUMN hook_at INTEGER;  -- once the task has ended: when its hooks want attention
CREATE INDEX IF NOT EXISTS tbl_task_hook ON tbl_task (hook_at) WHERE hook_at IS NOT NULL;
