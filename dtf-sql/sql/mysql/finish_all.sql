-- Ends tasks that run and are not paused: the only commit of their end. The marker stands for the rows.
-- Parameters of each row: id, the run, the time, the five counts, the result, the status. Result: as many rows are affected.
UPDATE (/* rows */) AS called
STRAIGHT_JOIN tbl_task ON tbl_task.id = called.task
SET tbl_task.changes = tbl_task.changes + 1,
    tbl_task.time_cost = CASE WHEN tbl_task.start_time < called.time_now THEN called.time_now - tbl_task.start_time ELSE 0 END,
    tbl_task.finish_time = called.time_now,
    tbl_task.hook_at = CASE WHEN tbl_task.hooks IS NULL THEN NULL ELSE called.time_now END,
    tbl_task.created_count = called.created,
    tbl_task.succeeded_count = called.succeeded,
    tbl_task.failed_count = called.failed,
    tbl_task.cancelled_count = called.cancelled,
    tbl_task.timed_out_count = called.timed_out,
    tbl_task.result = called.result,
    tbl_task.task_status = called.status,
    tbl_task.phase = 1
WHERE tbl_task.phase = 0 AND tbl_task.run_epoch = called.run
  AND tbl_task.task_status = 2 AND tbl_task.paused_time IS NULL
