-- Notes something where nothing is noted. Parameters: the name, the value.
INSERT INTO tbl_cluster (name, value) VALUES (?, ?) ON DUPLICATE KEY UPDATE name = tbl_cluster.name
