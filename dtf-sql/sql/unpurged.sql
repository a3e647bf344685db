-- The ended tasks of a share whose queues may be there, by id.
-- Parameters: the latest finish_time, the modulus and the factor of the mapping, the modulus again, how many shares, which share, the most rows. Result: rows, of the columns of a head.
SELECT id, task_type, type_version, resource_group, control, run_epoch FROM tbl_task
WHERE phase = 1 AND finish_time <= ? AND id % ? * ? % ? % ? = ?
ORDER BY id
LIMIT ?
