-- Makes a resource group, or replaces what is said of it.
-- Parameters: name, quota, max_running, max_rate, description, paused. Result: none, one or two rows are affected.
INSERT INTO tbl_resource_group (name, quota, max_running, max_rate, description, paused)
VALUES (?, ?, ?, ?, ?, ?)
ON DUPLICATE KEY UPDATE
    quota = VALUES(quota),
    max_running = VALUES(max_running),
    max_rate = VALUES(max_rate),
    description = VALUES(description),
    paused = VALUES(paused)
