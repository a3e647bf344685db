-- Lets other migrations of this database go on. Parameters: none. Result: one row.
SELECT RELEASE_LOCK(CONCAT('dtf_migrations.', LEFT(SHA2(DATABASE(), 256), 32)))
