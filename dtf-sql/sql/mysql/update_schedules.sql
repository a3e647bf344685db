-- Changes the progress of schedules that are as they were read. The marker stands for the rows.
-- Parameters of each row: id, the revision, next_at, the state. Result: as many rows are affected.
UPDATE (/* rows */) AS called
STRAIGHT_JOIN tbl_schedule ON tbl_schedule.id = called.schedule
SET tbl_schedule.revision = called.revision + 1,
    tbl_schedule.state = called.state,
    tbl_schedule.next_at = called.next_at
WHERE tbl_schedule.revision = called.revision
