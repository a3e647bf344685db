-- Starts the first run of tasks that were created only. The marker stands for the rows.
-- Parameters of each row: id, the run expected, the time. Result: as many rows are affected.
UPDATE tbl_task
SET changes = changes + 1,
    run_epoch = called.run + 1,
    paused_cost = 0,
    start_time = called.time_now,
    task_status = 2
FROM (/* rows */) AS called
WHERE tbl_task.id = called.task AND phase = 0 AND run_epoch = called.run
  AND task_status = 1 AND start_time IS NULL AND paused_time IS NULL
