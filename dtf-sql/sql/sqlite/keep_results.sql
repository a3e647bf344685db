-- Keeps results of a run; those that are there stay as they are. The marker stands for as many rows as are kept.
-- Parameters of each row: task_id, run_epoch, number, body. Result: nothing that is looked at.
INSERT INTO tbl_task_result (task_id, run_epoch, number, body)
VALUES /* rows */
ON CONFLICT DO NOTHING
