-- tbl_schedule: tasks that are created again and again. A table of its own, so that programs from version 5 on go on.
-- Each statement can be applied again, as an interrupted migration is.
CREATE TABLE IF NOT EXISTS tbl_schedule (
    id          BIGINT       NOT NULL AUTO_INCREMENT,
    request_id  CHAR(36)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'names the creation',
    name        VARCHAR(128) NOT NULL,
    spec        MEDIUMTEXT   NOT NULL COMMENT 'what the user said, JSON',
    state       MEDIUMTEXT   NOT NULL COMMENT 'how far it is, JSON',
    next_at     BIGINT       COMMENT 'when it wants attention next, in milliseconds since the Unix epoch',
    revision    BIGINT       NOT NULL DEFAULT 0 COMMENT 'grows with every change of the state',
    create_time BIGINT       NOT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY tbl_schedule_request (request_id),
    UNIQUE KEY tbl_schedule_name (name),
    KEY tbl_schedule_next (next_at, id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
