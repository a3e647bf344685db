-- Deletes old entries of the audit, the oldest first. Parameters: the id to stop before, the most rows.
DELETE FROM tbl_audit WHERE id IN (SELECT id FROM tbl_audit WHERE id < ? ORDER BY id LIMIT ?)
