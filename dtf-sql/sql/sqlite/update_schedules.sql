-- Changes the progress of schedules that are as they were read. The marker stands for the rows.
-- Parameters of each row: id, the revision, next_at, the state. Result: as many rows are affected.
UPDATE tbl_schedule
SET revision = called.revision + 1,
    state = called.state,
    next_at = called.next_at
FROM (/* rows */) AS called
WHERE tbl_schedule.id = called.schedule AND tbl_schedule.revision = called.revision
