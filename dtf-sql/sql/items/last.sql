-- The last chunk of each producer, of those that fed last. Parameters: task_id, the most rows. Result: rows.
SELECT MAX(number) AS number FROM tbl_task_item
WHERE task_id = ? AND producer <> ''
GROUP BY producer
ORDER BY MAX(number) DESC
LIMIT ?
