-- tbl_resource_group: between whom the executors are shared. The widths are those of dtf_model::group.
-- Each statement can be applied again, as an interrupted migration is.
CREATE TABLE IF NOT EXISTS tbl_resource_group (
    name        VARCHAR(128)  NOT NULL,
    quota       BIGINT        NOT NULL COMMENT 'its share, in proportion to those of the others',
    max_running BIGINT        COMMENT 'subtasks that are dispatched and not reported, at most',
    max_rate    BIGINT        COMMENT 'subtasks dispatched a second, at most',
    description VARCHAR(1024) NOT NULL,
    PRIMARY KEY (name)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
-- The group that is always there, and those that tasks are in already.
INSERT IGNORE INTO tbl_resource_group (name, quota, description) VALUES ('default', 100, '');
INSERT IGNORE INTO tbl_resource_group (name, quota, description)
    SELECT DISTINCT resource_group, 100, '' FROM tbl_task;
