-- Notes something where nothing is noted. Parameters: the name, the value.
INSERT INTO tbl_cluster (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING
