-- The entries of the audit, the newest first. The markers stand for the indexes and for further conditions.
-- Parameters: the id to begin below, those of the conditions, the most rows. Result: rows.
SELECT * FROM tbl_audit /* index */ WHERE id < ? /* conditions */ ORDER BY id DESC LIMIT ?
