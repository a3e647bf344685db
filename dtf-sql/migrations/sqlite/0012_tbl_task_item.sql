-- tbl_task_item: items that are fed into open tasks, in chunks; see dtf_model::items. A new table only, so that programs from version 5 on go on.
CREATE TABLE IF NOT EXISTS tbl_task_item (
    task_id       INTEGER NOT NULL,
    number        INTEGER NOT NULL,  -- of its first item
    items         INTEGER NOT NULL,  -- so many; none of the chunk that closes the task
    bytes_before  INTEGER NOT NULL,  -- of all chunks before it
    bytes         INTEGER NOT NULL,
    producer      TEXT    NOT NULL,  -- empty where it has none
    producer_next INTEGER NOT NULL,  -- the offset of the producer behind it
    closed        INTEGER NOT NULL,
    kept          INTEGER NOT NULL,  -- 0 once its items are dropped
    nonce         TEXT    NOT NULL,  -- names the call that appended it
    body          TEXT    NOT NULL,  -- the items, with line feeds between them
    PRIMARY KEY (task_id, number)
);
CREATE INDEX IF NOT EXISTS tbl_task_item_producer ON tbl_task_item (task_id, producer, number);
CREATE INDEX IF NOT EXISTS tbl_task_item_kept ON tbl_task_item (task_id, kept, number);
