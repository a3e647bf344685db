-- The resource groups by name. Parameters: the name to begin above, the most rows. Result: rows.
SELECT * FROM tbl_resource_group
WHERE name > ?
ORDER BY name
LIMIT ?
