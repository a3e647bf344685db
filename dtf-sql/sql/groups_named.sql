-- The names of those resource groups that are there. The marker stands for the names, which have to be compared again, as
-- MySQL does not see trailing spaces. Parameters: names. Result: rows, the name.
SELECT name FROM tbl_resource_group WHERE name IN (/* rows */)
