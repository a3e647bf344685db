-- The tasks that fit, in the order of the filter. filter.rs puts the index, the conditions and the order in the places of the
-- markers.
-- Parameters: those of the conditions, the most rows. Result: rows.
SELECT * FROM tbl_task /* index */
WHERE 1 = 1 /* conditions */
ORDER BY /* order */
LIMIT ?
