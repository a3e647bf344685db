-- Adds an entry of the audit where none has its id.
-- Parameters: id, asked_time, actor, address, action, target, detail, outcome, request_id.
INSERT INTO tbl_audit (id, asked_time, actor, address, action, target, detail, outcome, request_id)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING
