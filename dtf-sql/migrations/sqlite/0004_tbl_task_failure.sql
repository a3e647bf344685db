-- tbl_task_failure: subtasks that failed for good. The widths are those of dtf_model::failure; a body is written in hex.
CREATE TABLE IF NOT EXISTS tbl_task_failure (
    task_id    INTEGER NOT NULL,
    run_epoch  INTEGER NOT NULL,
    emit_epoch INTEGER NOT NULL,
    seq        INTEGER NOT NULL,
    timed_out  INTEGER NOT NULL,
    error      TEXT    NOT NULL,
    body       TEXT,             -- NULL where it was too large to keep
    PRIMARY KEY (task_id, run_epoch, emit_epoch, seq)
) WITHOUT ROWID;
