-- tbl_flow: tasks that were created together. tbl_task_after: what tasks wait for.
-- tbl_task: the flow of a task and its name there, whether its parameter takes results, whether others depend on it. A task that waits
-- for others has phase 3, which programs of earlier versions pass over. So programs from version 5 on go on.
-- Each statement can be applied again, as an interrupted migration is.
CREATE TABLE IF NOT EXISTS tbl_flow (
    id          BIGINT       NOT NULL AUTO_INCREMENT,
    request_id  CHAR(36)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'names the creation',
    name        VARCHAR(128) NOT NULL,
    retry_of    BIGINT       COMMENT 'the flow whose failed tasks it runs again',
    create_time BIGINT       NOT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY tbl_flow_request (request_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TABLE IF NOT EXISTS tbl_task_after (
    task_id BIGINT       NOT NULL,
    on_id   BIGINT       NOT NULL COMMENT 'the task that it waits for',
    cond    TINYINT      NOT NULL COMMENT 'on its end: 1 completed, 2 ended, 3 failed',
    label   VARCHAR(128) NOT NULL COMMENT 'how the parameter refers to it',
    told    TINYINT      NOT NULL DEFAULT 0 COMMENT '1 once the waiting task has been told of the end',
    PRIMARY KEY (task_id, on_id),
    KEY tbl_task_after_on (on_id, told, task_id),
    KEY tbl_task_after_told (told, on_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
SET @dtf_change = IF(
    (SELECT COUNT(*) FROM information_schema.columns
     WHERE table_schema = DATABASE() AND table_name = 'tbl_task' AND column_name = 'flow_id') > 0,
    'DO 0',
    'ALTER TABLE tbl_task
        ADD COLUMN flow_id BIGINT COMMENT ''the flow that it was created with'',
        ADD COLUMN flow_task VARCHAR(128) COMMENT ''its name in the flow'',
        ADD COLUMN takes_results TINYINT NOT NULL DEFAULT 0 COMMENT ''1 if its parameter takes results of tasks that it waits for'',
        ADD COLUMN has_dependents TINYINT NOT NULL DEFAULT 0 COMMENT ''1 if tasks were created that wait for it'',
        ADD KEY tbl_task_flow (flow_id, id)');
PREPARE dtf_change FROM @dtf_change;
EXECUTE dtf_change;
DEALLOCATE PREPARE dtf_change;
