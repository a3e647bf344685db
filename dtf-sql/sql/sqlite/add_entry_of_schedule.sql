-- Adds an entry of the audit where none has its id, if a request made a schedule.
-- Parameters: id, asked_time, actor, address, action, target, detail, outcome, request_id, the request of the schedule.
INSERT INTO tbl_audit (id, asked_time, actor, address, action, target, detail, outcome, request_id)
SELECT ?, ?, ?, ?, ?, ?, ?, ?, ? FROM tbl_schedule WHERE request_id = ?
ON CONFLICT DO NOTHING
