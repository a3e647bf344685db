-- tbl_token: the tokens of the API, without their secrets; tbl_audit: the changes asked for;
-- tbl_task_result: results that are kept with their task. The widths are those of
-- dtf_model::token and dtf_model::audit. New tables only, so that programs from version 5 on go on.
INSERT INTO tbl_cluster (name, value) VALUES ('schema.accepts', '5') ON DUPLICATE KEY UPDATE value = '5';
CREATE TABLE IF NOT EXISTS tbl_token (
    id          VARCHAR(32)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    digest      CHAR(64)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'SHA-256 of the secret, in hex',
    name        VARCHAR(128) NOT NULL,
    role        TINYINT      NOT NULL,
    of_groups   MEDIUMTEXT   NOT NULL COMMENT 'JSON: the resource groups that it is limited to',
    of_types    MEDIUMTEXT   NOT NULL COMMENT 'JSON: the task types that a worker with it may execute',
    create_time BIGINT       NOT NULL,
    creator     VARCHAR(128) NOT NULL,
    expire_time BIGINT,
    use_time    BIGINT       COMMENT 'the last use',
    PRIMARY KEY (id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TABLE IF NOT EXISTS tbl_audit (
    id         CHAR(36)      CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'a UUID of version 7: in the order of time',
    asked_time BIGINT        NOT NULL,
    actor      VARCHAR(255)  NOT NULL,
    address    VARCHAR(255)  NOT NULL,
    action     VARCHAR(255)  NOT NULL,
    target     VARCHAR(255)  NOT NULL,
    detail     VARCHAR(2048) NOT NULL,
    outcome    TINYINT       NOT NULL,
    request_id CHAR(36)      CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    PRIMARY KEY (id),
    KEY tbl_audit_target (target, id),
    KEY tbl_audit_actor (actor, id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TABLE IF NOT EXISTS tbl_task_result (
    task_id   BIGINT     NOT NULL,
    run_epoch BIGINT     NOT NULL,
    number    BIGINT     NOT NULL COMMENT 'in the order of collection',
    body      MEDIUMTEXT NOT NULL,
    PRIMARY KEY (task_id, run_epoch, number)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
