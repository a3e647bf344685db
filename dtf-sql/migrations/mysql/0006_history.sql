-- Indexes only, so that programs from version 5 on go on.
-- start: tasks that are to start later, the next one first; history: what has ended of a group and type, by its end;
-- retry: the retries of a task, which read its failures.
-- Each statement can be applied again, as an interrupted migration is.
INSERT INTO tbl_cluster (name, value) VALUES ('schema.accepts', '5') ON DUPLICATE KEY UPDATE value = '5';
SET @dtf_change = IF(
    (SELECT COUNT(*) FROM information_schema.statistics
     WHERE table_schema = DATABASE() AND table_name = 'tbl_task' AND index_name = 'tbl_task_history') > 0,
    'DO 0',
    'ALTER TABLE tbl_task
        ADD KEY tbl_task_start (next_check_time, id),
        ADD KEY tbl_task_history (resource_group, task_type, phase, finish_time, id),
        ADD KEY tbl_task_retry (retry_of, phase)');
PREPARE dtf_change FROM @dtf_change;
EXECUTE dtf_change;
DEALLOCATE PREPARE dtf_change;
