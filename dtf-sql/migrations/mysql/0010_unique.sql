-- tbl_task: a key that no other task has, and for how long it is taken. A column that may be empty, so that programs from version 5 on go on.
-- The statement can be applied again, as an interrupted migration is.
SET @dtf_change = IF(
    (SELECT COUNT(*) FROM information_schema.columns
     WHERE table_schema = DATABASE() AND table_name = 'tbl_task' AND column_name = 'unique_key') > 0,
    'DO 0',
    'ALTER TABLE tbl_task
        ADD COLUMN unique_key VARCHAR(191) COMMENT ''NULL where it has none, or lost it to another task'',
        ADD COLUMN unique_while TINYINT COMMENT ''taken until it: 1 begins, 2 ends; 3 until a time'',
        ADD COLUMN unique_until BIGINT COMMENT ''that time'',
        ADD UNIQUE KEY tbl_task_unique (unique_key)');
PREPARE dtf_change FROM @dtf_change;
EXECUTE dtf_change;
DEALLOCATE PREPARE dtf_change;
