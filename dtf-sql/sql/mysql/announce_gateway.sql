-- Writes what a gateway says. Parameters: id, process, workers, connected, until_time.
INSERT INTO tbl_gateway (id, process, workers, connected, until_time)
VALUES (?, ?, ?, ?, ?)
ON DUPLICATE KEY UPDATE workers = VALUES(workers), connected = VALUES(connected), until_time = VALUES(until_time)
