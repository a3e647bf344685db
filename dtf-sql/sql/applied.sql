-- The migrations that a database has, by number. Parameters: none. Result: rows; the checksum in hex.
SELECT version, HEX(checksum) AS checksum, success + 0 AS success FROM dtf_migrations ORDER BY version
