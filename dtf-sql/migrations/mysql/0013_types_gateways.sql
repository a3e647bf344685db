-- tbl_task_type: types of task that data defines; see dtf_model::defined_type. New tables only, so that programs from version 5 on go on.
CREATE TABLE IF NOT EXISTS tbl_task_type (
    name         VARCHAR(128)  NOT NULL PRIMARY KEY,
    version      BIGINT        NOT NULL COMMENT 'so often was it defined',
    description  VARCHAR(1024) NOT NULL,
    param_schema MEDIUMTEXT    NOT NULL COMMENT 'JSON; null where parameters may be anything',
    template     MEDIUMTEXT    NOT NULL COMMENT 'JSON',
    update_time  BIGINT        NOT NULL,
    updater      VARCHAR(128)  NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
-- tbl_gateway: processes that remote workers are connected to; see dtf_model::gateway.
CREATE TABLE IF NOT EXISTS tbl_gateway (
    id         CHAR(36)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    process    VARCHAR(128) NOT NULL,
    workers    MEDIUMTEXT   NOT NULL COMMENT 'JSON',
    connected  BIGINT       NOT NULL,
    until_time BIGINT       NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
