-- Starts the first run of tasks that were created only. The marker stands for the rows.
-- Parameters of each row: id, the run expected, the time. Result: as many rows are affected.
UPDATE (/* rows */) AS called
STRAIGHT_JOIN tbl_task ON tbl_task.id = called.task
SET tbl_task.changes = tbl_task.changes + 1,
    tbl_task.run_epoch = called.run + 1,
    tbl_task.paused_cost = 0,
    tbl_task.start_time = called.time_now,
    tbl_task.task_status = 2
WHERE tbl_task.phase = 0 AND tbl_task.run_epoch = called.run
  AND tbl_task.task_status = 1 AND tbl_task.start_time IS NULL AND tbl_task.paused_time IS NULL
