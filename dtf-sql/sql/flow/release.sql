-- Lets tasks that wait begin. The marker stands for the ids. Parameters: ids. Result: nothing that is looked at.
UPDATE tbl_task SET changes = changes + 1, phase = 0 WHERE id IN (/* rows */) AND phase = 3
