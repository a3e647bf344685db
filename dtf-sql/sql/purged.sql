-- Notes that the queues of an ended task are gone. Parameters: id. Result: one row is affected, or none.
UPDATE tbl_task
SET changes = changes + 1,
    phase = 2
WHERE id = ? AND phase = 1
