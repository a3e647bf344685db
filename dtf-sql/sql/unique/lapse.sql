-- Takes a key from the task that has it, if its time is over: the task has begun (1), has ended (1, 2), or the period is over (3).
-- Parameters: the key, the time. Result: one row is affected, or none.
UPDATE tbl_task SET changes = changes + 1, unique_key = NULL
WHERE unique_key = ?
    AND ((unique_while = 1 AND (run_epoch > 0 OR phase IN (1, 2)))
        OR (unique_while = 2 AND phase IN (1, 2))
        OR (unique_while = 3 AND unique_until <= ?))
