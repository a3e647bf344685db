-- tbl_task_item: items that are fed into open tasks, in chunks; see dtf_model::items. A new table only, so that programs from version 5 on go on.
CREATE TABLE IF NOT EXISTS tbl_task_item (
    task_id       BIGINT       NOT NULL,
    number        BIGINT       NOT NULL COMMENT 'of its first item',
    items         BIGINT       NOT NULL COMMENT 'so many; none of the chunk that closes the task',
    bytes_before  BIGINT       NOT NULL COMMENT 'of all chunks before it',
    bytes         BIGINT       NOT NULL,
    producer      VARCHAR(100) NOT NULL COMMENT 'empty where it has none',
    producer_next BIGINT       NOT NULL COMMENT 'the offset of the producer behind it',
    closed        TINYINT      NOT NULL,
    kept          TINYINT      NOT NULL COMMENT '0 once its items are dropped',
    nonce         CHAR(36)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'names the call that appended it',
    body          MEDIUMTEXT   NOT NULL COMMENT 'the items, with line feeds between them',
    PRIMARY KEY (task_id, number),
    KEY tbl_task_item_producer (task_id, producer, number),
    KEY tbl_task_item_kept (task_id, kept, number)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
