-- tbl_task: a key that no other task has, and for how long it is taken. A column that may be empty, so that programs from version 5 on go on.
ALTER TABLE tbl_task ADD COLUMN unique_key TEXT;        -- NULL where it has none, or lost it to another task
ALTER TABLE tbl_task ADD COLUMN unique_while INTEGER;   -- taken until it: 1 begins, 2 ends; 3 until a time
ALTER TABLE tbl_task ADD COLUMN unique_until INTEGER;   -- that time
CREATE UNIQUE INDEX IF NOT EXISTS tbl_task_unique ON tbl_task (unique_key);
