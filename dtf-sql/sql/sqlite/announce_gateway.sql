-- Writes what a gateway says. Parameters: id, process, workers, connected, until_time.
INSERT INTO tbl_gateway (id, process, workers, connected, until_time)
VALUES (?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET workers = excluded.workers, connected = excluded.connected, until_time = excluded.until_time
