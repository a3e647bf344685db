-- tbl_task: who is told of a task's end, and when that wants attention. Columns that may be empty, so that programs from version 5 on
-- go on; the receivers of tasks that those end are not told.
-- The statement can be applied again, as an interrupted migration is.
SET @dtf_change = IF(
    (SELECT COUNT(*) FROM information_schema.columns
     WHERE table_schema = DATABASE() AND table_name = 'tbl_task' AND column_name = 'hook_at') > 0,
    'DO 0',
    'ALTER TABLE tbl_task
        ADD COLUMN hooks MEDIUMTEXT COMMENT ''receivers and the progress of their deliveries, in JSON; NULL where there are none'',
        ADD COLUMN hook_at BIGINT COMMENT ''once the task has ended: when its hooks want attention'',
        ADD KEY tbl_task_hook (hook_at)');
PREPARE dtf_change FROM @dtf_change;
EXECUTE dtf_change;
DEALLOCATE PREPARE dtf_change;
