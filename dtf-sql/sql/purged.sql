-- Notes that the queues of ended tasks are gone. The marker stands for the ids. Parameters: ids. Result: nothing that is
-- looked at.
UPDATE tbl_task
SET changes = changes + 1,
    phase = 2
WHERE id IN (/* rows */) AND phase = 1
