-- Adds entries of the audit, those whose ids are not there. The marker stands for the rows.
-- Parameters of each row: id, asked_time, actor, address, action, target, what the number behind the target is found by, detail,
-- outcome, request_id.
INSERT INTO tbl_audit (id, asked_time, actor, address, action, target, detail, outcome, request_id)
VALUES /* rows */
ON DUPLICATE KEY UPDATE id = tbl_audit.id
