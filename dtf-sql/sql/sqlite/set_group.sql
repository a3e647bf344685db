-- Makes a resource group, or replaces what is said of it.
-- Parameters: name, quota, max_running, max_rate, description, paused. Result: one row is affected.
INSERT INTO tbl_resource_group (name, quota, max_running, max_rate, description, paused)
VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET
    quota = excluded.quota,
    max_running = excluded.max_running,
    max_rate = excluded.max_rate,
    description = excluded.description,
    paused = excluded.paused
