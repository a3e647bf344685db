-- Keeps other migrations of this database away until unlock.sql or the end of the connection; waits 60 s for them.
-- The hash makes any name short enough (MD5 is gone from MySQL 9.6). Parameters: none. Result: one row; 1 if locked.
SELECT GET_LOCK(CONCAT('dtf_migrations.', LEFT(SHA2(DATABASE(), 256), 32)), 60)
