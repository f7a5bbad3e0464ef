-- Question: Which storage was handed out for a Flow and never registered?
-- Why: A broken ingest; space that leaks.
-- Shape: table
-- Engine: duckdb
-- Parameter: flow_id uuid = null. Only storage for this Flow.
-- Parameter: older_than_seconds integer = 0. Only storage that was handed out more than this many seconds ago.
-- Parameter: now time = now. The moment that ages are counted to.
-- Parameter: limit integer = 1000. At most this many rows, the oldest first.
-- Column: object_id text. Id that was handed out.
-- Column: flow_id text. UUID of the Flow that it was handed out for.
-- Column: flow_label text. Label of that Flow.
-- Column: created time. When it was handed out.
-- Column: age_seconds integer. Whole seconds since then.
-- Column: expires time. Unless it is registered by then, it is collected.
-- Column: expired boolean. Whether that time is over.
-- Column: condemned boolean. Whether its bytes are about to be deleted.
-- Column: size_bytes integer. Bytes that were uploaded; null where unknown.
-- Chart: bars x=flow_label y=age_seconds
SELECT o.id AS object_id, o.first_flow AS flow_id, f.label AS flow_label, o.created,
    CAST(floor(date_part('epoch', $now) - date_part('epoch', CAST(o.created AS TIMESTAMP))) AS BIGINT) AS age_seconds,
    o.expires, COALESCE(o.expires < $now, FALSE) AS expired, o.condemned, o.size_bytes
FROM objects o
LEFT JOIN flows f ON f.id = o.first_flow
WHERE o.kind IS NULL
    AND ($flow_id IS NULL OR o.first_flow = $flow_id)
    AND o.created <= $now - CAST(concat(CAST($older_than_seconds AS VARCHAR), ' seconds') AS INTERVAL)
ORDER BY o.created, o.id
LIMIT $limit
