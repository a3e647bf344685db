-- Deletes tasks that have ended and whose queues are gone. The marker stands for as many ids as parameters.
-- Result: as many rows are affected.
DELETE FROM tbl_task WHERE phase = 2 AND id IN (/* ids */)
