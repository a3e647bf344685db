-- Inserts a schedule; one whose request or name is there already stays as it is.
-- Parameters: request_id, name, spec, state, next_at, create_time. Result: nothing that is looked at.
INSERT INTO tbl_schedule (request_id, name, spec, state, next_at, create_time) VALUES (?, ?, ?, ?, ?, ?)
ON DUPLICATE KEY UPDATE id = tbl_schedule.id
