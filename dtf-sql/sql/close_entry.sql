-- Closes an entry that is still intended (0). Parameters: the outcome, the detail, the id.
UPDATE tbl_audit SET outcome = ?, detail = ? WHERE id = ? AND outcome = 0
