-- Deletes the chunks before a number, apart from some, a thousand at a time. The marker stands for as many numbers as parameters.
-- Parameters: task_id, the number, those that stay. Result: as many rows are affected.
DELETE FROM tbl_task_item WHERE task_id = ? AND number < ? AND number NOT IN (/* ids */) LIMIT 1000
