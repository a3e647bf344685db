-- The first chunks that are kept from a number on. Parameters: task_id, the number, the most bytes before the last of them, task_id, the
-- number, the most rows. Result: rows.
SELECT number, body FROM tbl_task_item
WHERE task_id = ? AND kept = 1 AND number >= ? AND bytes_before <= ? + (
    SELECT bytes_before FROM tbl_task_item WHERE task_id = ? AND kept = 1 AND number >= ? ORDER BY number LIMIT 1)
ORDER BY number
LIMIT ?
