-- Question: Which Objects are older than some days and used by no segment?
-- Why: Paid for, never used.
-- Shape: table
-- Parameter: older_than_days integer = 7. Only Objects that were made more than this many days ago.
-- Parameter: flow_id uuid = null. Only Objects that this Flow brought.
-- Parameter: now time = now. The moment that ages are counted to.
-- Parameter: limit integer = 1000. At most this many rows, the largest Objects first.
-- Column: object_id text. Id of the Object.
-- Column: kind text. media or init; null where the storage was handed out and nothing has referred to it.
-- Column: flow_id text. UUID of the Flow that it was allocated for, or that brought it.
-- Column: flow_label text. Label of that Flow.
-- Column: created time. When the storage was handed out or the Object first registered.
-- Column: age_days integer. Whole days since then.
-- Column: size_bytes integer. Bytes of the Object; null where unknown.
-- Chart: bars x=flow_label y=size_bytes
WITH aged AS (
    SELECT id, kind, first_flow, created, size_bytes
    FROM objects
    WHERE created < $now - CAST(concat(CAST($older_than_days AS VARCHAR), ' days') AS INTERVAL)
        AND ($flow_id IS NULL OR first_flow = $flow_id)
), unused AS (
    SELECT a.*
    FROM aged a
    WHERE NOT EXISTS (SELECT 1 FROM flow_segments s WHERE s.object_id = a.id)
        AND NOT EXISTS (SELECT 1 FROM flow_segments s WHERE s.init_object = a.id)
        AND NOT EXISTS (SELECT 1 FROM objects o WHERE o.init_object = a.id)
)
SELECT u.id AS object_id, u.kind, u.first_flow AS flow_id, f.label AS flow_label, u.created,
    CAST(floor((date_part('epoch', $now) - date_part('epoch', CAST(u.created AS TIMESTAMP))) / 86400e0) AS BIGINT)
        AS age_days,
    u.size_bytes
FROM unused u
LEFT JOIN flows f ON f.id = u.first_flow
ORDER BY u.size_bytes DESC NULLS LAST, u.created, u.id
LIMIT $limit
