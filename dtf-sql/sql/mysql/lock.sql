-- Keeps other migrations of this database away until unlock.sql or the end of the connection; waits 60 s for them.
-- Parameters: none. Result: one row; 1 if locked.
SELECT GET_LOCK(CONCAT('dtf_migrations.', MD5(DATABASE())), 60)
