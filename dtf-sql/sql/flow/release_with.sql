-- Lets a task that waits begin with a parameter. Parameters: type_param, id. Result: one row is affected, or none.
UPDATE tbl_task SET changes = changes + 1, phase = 0, type_param = ? WHERE id = ? AND phase = 3
