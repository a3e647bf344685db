-- Adds a token where none has its id.
-- Parameters: id, digest, name, role, of_groups, of_types, create_time, creator, expire_time, use_time.
INSERT INTO tbl_token (id, digest, name, role, of_groups, of_types, create_time, creator, expire_time, use_time)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON DUPLICATE KEY UPDATE id = tbl_token.id
