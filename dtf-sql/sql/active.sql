-- The tasks of a share that have not ended, by id.
-- Parameters: the id to begin above, the modulus and the factor of the mapping, the modulus again, how many shares, which share, the most rows. Result: rows, of the columns of a head.
SELECT id, task_type, type_version, resource_group, control, run_epoch FROM tbl_task
WHERE phase = 0 AND id > ? AND id % ? * ? % ? % ? = ?
ORDER BY id
LIMIT ?
