-- tbl_cluster: what all processes of a cluster have to agree on, and what outlives the coordination store.
-- tbl_task: limits on a task, and of which task it is the retry.
-- Each statement can be applied again, as an interrupted migration is; a column is added where it is not there.
CREATE TABLE IF NOT EXISTS tbl_cluster (
    name  VARCHAR(255)  NOT NULL COMMENT 'what it is',
    value VARCHAR(4096) NOT NULL,
    PRIMARY KEY (name)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
SET @dtf_change = IF(
    (SELECT COUNT(*) FROM information_schema.columns
     WHERE table_schema = DATABASE() AND table_name = 'tbl_task' AND column_name = 'retry_of') > 0,
    'DO 0',
    'ALTER TABLE tbl_task
        ADD COLUMN max_running BIGINT COMMENT ''subtasks that are dispatched and not reported, at most'',
        ADD COLUMN max_rate BIGINT COMMENT ''subtasks dispatched a second, at most'',
        ADD COLUMN retry_of BIGINT COMMENT ''the task whose failed subtasks it runs again''');
PREPARE dtf_change FROM @dtf_change;
EXECUTE dtf_change;
DEALLOCATE PREPARE dtf_change;
