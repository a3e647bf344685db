-- The entries of the audit, the newest first. The marker stands for further conditions.
-- Parameters: the id to begin below, those of the conditions, the most rows. Result: rows.
SELECT * FROM tbl_audit WHERE id < ? /* conditions */ ORDER BY id DESC LIMIT ?
