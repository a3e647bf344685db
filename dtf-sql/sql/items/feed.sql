-- The state of a task's items. Parameters: task_id (three times), producer, task_id, the number of a chunk, task_id.
-- Result: a row, or none where there is no chunk; `nonce` names the call that appended the chunk with that number, if it is there.
SELECT last.number + last.items AS next, last.bytes_before + last.bytes AS bytes, last.closed AS closed,
    COALESCE((SELECT number FROM tbl_task_item WHERE task_id = ? AND kept = 1 ORDER BY number LIMIT 1),
        last.number + last.items) AS kept_from,
    COALESCE((SELECT bytes_before FROM tbl_task_item WHERE task_id = ? AND kept = 1 ORDER BY number LIMIT 1),
        last.bytes_before + last.bytes) AS kept_behind,
    COALESCE((SELECT producer_next FROM tbl_task_item WHERE task_id = ? AND producer = ? ORDER BY number DESC LIMIT 1),
        0) AS producer_next,
    COALESCE((SELECT nonce FROM tbl_task_item WHERE task_id = ? AND number = ?), '') AS nonce
FROM tbl_task_item AS last
WHERE last.task_id = ?
ORDER BY last.number DESC
LIMIT 1
