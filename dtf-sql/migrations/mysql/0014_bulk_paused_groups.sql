-- tbl_bulk: actions on many tasks; see dtf_model::bulk. tbl_resource_group: groups may be paused. A new table, and a column with a default,
-- so that programs from version 5 on go on.
-- The statements can be applied again, as an interrupted migration is.
CREATE TABLE IF NOT EXISTS tbl_bulk (
    id          CHAR(36)   CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    spec        MEDIUMTEXT NOT NULL COMMENT 'JSON',
    tasks       MEDIUMTEXT NOT NULL COMMENT 'JSON: ids, in the order in which it goes through them',
    state       MEDIUMTEXT NOT NULL COMMENT 'JSON',
    revision    BIGINT     NOT NULL COMMENT 'so often was the state written',
    until_time  BIGINT     COMMENT 'until when a process works on it; NULL once it has ended',
    create_time BIGINT     NOT NULL,
    KEY tbl_bulk_until (until_time),
    KEY tbl_bulk_created (create_time)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
SET @dtf_change = IF(
    (SELECT COUNT(*) FROM information_schema.columns
     WHERE table_schema = DATABASE() AND table_name = 'tbl_resource_group' AND column_name = 'paused') > 0,
    'DO 0',
    'ALTER TABLE tbl_resource_group
        ADD COLUMN paused BIGINT NOT NULL DEFAULT 0 COMMENT ''1 while nothing of its tasks is dispatched''');
PREPARE dtf_change FROM @dtf_change;
EXECUTE dtf_change;
DEALLOCATE PREPARE dtf_change;
