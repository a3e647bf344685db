-- Inserts a flow, where its request made none. Parameters: request_id, name, retry_of, create_time. Result: nothing that is looked at.
INSERT INTO tbl_flow (request_id, name, retry_of, create_time) VALUES (?, ?, ?, ?)
ON CONFLICT DO NOTHING
