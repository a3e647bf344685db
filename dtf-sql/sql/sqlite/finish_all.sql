-- Ends tasks that run and are not paused: the only commit of their end. The marker stands for the rows.
-- Parameters of each row: id, the run, the time, the five counts, the result, the status. Result: as many rows are affected.
UPDATE tbl_task
SET changes = changes + 1,
    time_cost = CASE WHEN start_time < called.time_now THEN called.time_now - start_time ELSE 0 END,
    finish_time = called.time_now,
    hook_at = CASE WHEN hooks IS NULL THEN NULL ELSE called.time_now END,
    created_count = called.created,
    succeeded_count = called.succeeded,
    failed_count = called.failed,
    cancelled_count = called.cancelled,
    timed_out_count = called.timed_out,
    result = called.result,
    task_status = called.status,
    phase = 1
FROM (/* rows */) AS called
WHERE tbl_task.id = called.task AND phase = 0 AND run_epoch = called.run
  AND task_status = 2 AND paused_time IS NULL
