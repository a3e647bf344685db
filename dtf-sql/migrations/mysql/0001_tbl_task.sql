-- tbl_task, the truth about tasks. Times are milliseconds since the Unix epoch, spans are milliseconds.
-- The widths are those of dtf_model::param. One statement, so that it is there as a whole or not at all.
-- The indexes: phase for the tasks that have not ended and the ended ones whose queues may be there, each by id; the
-- others for lists, newest first.
CREATE TABLE IF NOT EXISTS tbl_task (
    id              BIGINT       NOT NULL AUTO_INCREMENT,
    request_id      CHAR(36)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'names the creation',
    task_type       BIGINT       NOT NULL,
    name            VARCHAR(128)  NOT NULL,
    description     VARCHAR(1024) NOT NULL,
    uid             BIGINT       NOT NULL,
    creator         VARCHAR(128) NOT NULL,
    resource_group  VARCHAR(128) NOT NULL,
    priority        BIGINT       NOT NULL,
    timeout         BIGINT       NOT NULL,
    type_param      MEDIUMTEXT   NOT NULL COMMENT 'JSON',
    task_status     TINYINT      NOT NULL
        COMMENT '1 created, 2 running, 3 paused, 4 cancelled, 5 completed, 6 exceptional',
    phase           TINYINT      NOT NULL DEFAULT 0
        COMMENT '0 not ended, 1 ended and its queues may be there, 2 they are gone',
    control         TINYINT      NOT NULL DEFAULT 0 COMMENT 'what is wanted: 0 run, 1 pause, 2 cancel, 3 abort',
    run_epoch       BIGINT       NOT NULL DEFAULT 0,
    changes         BIGINT       NOT NULL DEFAULT 0
        COMMENT 'grows with every update, so that each one changes its row',
    create_time     BIGINT       NOT NULL,
    next_check_time BIGINT       COMMENT 'not to be started before',
    start_time      BIGINT,
    finish_time     BIGINT,
    time_cost       BIGINT       COMMENT 'from start to finish',
    paused_time     BIGINT       COMMENT 'when it was paused, while it is',
    paused_cost     BIGINT       NOT NULL DEFAULT 0 COMMENT 'how long it has been paused before',
    cancel_time     BIGINT,
    created_count   BIGINT       NOT NULL DEFAULT 0,
    succeeded_count BIGINT       NOT NULL DEFAULT 0,
    failed_count    BIGINT       NOT NULL DEFAULT 0,
    cancelled_count BIGINT       NOT NULL DEFAULT 0,
    timed_out_count BIGINT       NOT NULL DEFAULT 0,
    reason          TEXT         NOT NULL,
    result          MEDIUMTEXT   COMMENT 'JSON',
    PRIMARY KEY (id),
    UNIQUE KEY tbl_task_request (request_id),
    KEY tbl_task_phase (phase, id, finish_time),
    KEY tbl_task_status (task_status, id),
    KEY tbl_task_type (task_type, id),
    KEY tbl_task_group (resource_group, id),
    KEY tbl_task_creator (creator, id),
    KEY tbl_task_name (name, id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
