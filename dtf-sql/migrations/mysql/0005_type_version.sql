-- tbl_task: the least version of the type's plugin that may work on a task.
-- The statement can be applied again, as an interrupted migration is.
SET @dtf_change = IF(
    (SELECT COUNT(*) FROM information_schema.columns
     WHERE table_schema = DATABASE() AND table_name = 'tbl_task' AND column_name = 'type_version') > 0,
    'DO 0',
    'ALTER TABLE tbl_task
        ADD COLUMN type_version BIGINT NOT NULL DEFAULT 0 COMMENT ''the least version of its type that may work on it; 0 for any''');
PREPARE dtf_change FROM @dtf_change;
EXECUTE dtf_change;
DEALLOCATE PREPARE dtf_change;
