-- Lets other migrations of this database go on. Parameters: none. Result: one row.
SELECT RELEASE_LOCK(CONCAT('dtf_migrations.', MD5(DATABASE())))
