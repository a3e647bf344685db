-- Notes that others depend on tasks. The marker stands for the ids. Parameters: ids. Result: nothing that is looked at.
UPDATE tbl_task SET changes = changes + 1, has_dependents = 1 WHERE id IN (/* rows */)
