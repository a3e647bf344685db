-- Drops the items of the chunks before a number, and keeps the rest of their rows. Parameters: task_id, the number.
-- Result: nothing that is looked at.
UPDATE tbl_task_item SET body = '', kept = 0 WHERE task_id = ? AND kept = 1 AND number < ?
