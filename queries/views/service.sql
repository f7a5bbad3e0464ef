-- View: service
-- One row: what the service says of itself.
SELECT s.*
FROM raw.service s
