-- Appends a chunk, where none has its number. Parameters: task_id, number, items, bytes_before, bytes, producer, producer_next, closed,
-- kept, nonce, body. Result: nothing that is looked at.
INSERT INTO tbl_task_item
    (task_id, number, items, bytes_before, bytes, producer, producer_next, closed, kept, nonce, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON DUPLICATE KEY UPDATE number = tbl_task_item.number
