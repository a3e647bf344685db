-- tbl_task_failure: subtasks that failed for good. The widths are those of dtf_model::failure; a body is written in hex.
CREATE TABLE IF NOT EXISTS tbl_task_failure (
    task_id    BIGINT     NOT NULL,
    run_epoch  BIGINT     NOT NULL,
    emit_epoch BIGINT     NOT NULL,
    seq        BIGINT     NOT NULL,
    timed_out  TINYINT    NOT NULL,
    error      TEXT       NOT NULL,
    body       MEDIUMTEXT CHARACTER SET ascii COLLATE ascii_bin COMMENT 'NULL where it was too large to keep',
    PRIMARY KEY (task_id, run_epoch, emit_epoch, seq)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
