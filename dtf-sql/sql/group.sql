-- One resource group. Names have to agree in length too, as MySQL does not see trailing spaces.
-- Parameters: name, twice. Result: its row, if there is one.
SELECT * FROM tbl_resource_group WHERE name = ? AND LENGTH(name) = LENGTH(?)
