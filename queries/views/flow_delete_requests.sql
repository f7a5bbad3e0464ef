-- View: flow_delete_requests
-- One row a Flow Delete Request: all stored columns, and whether it still has something to do.
-- Column: open boolean. Whether it is not done.
SELECT r.*, r.status <> 'done' AS open
FROM raw.flow_delete_requests r
