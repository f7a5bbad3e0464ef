-- Question: Which Objects are not yet at the second storage backend, and how old is the oldest?
-- Why: The promise of disaster recovery.
-- Shape: table
-- Parameter: storage_backend_id uuid = null. Where Objects should be; without it, every backend but the default one.
-- Parameter: older_than_seconds integer = 0. Only Objects that were made more than this many seconds ago.
-- Parameter: now time = now. The moment that ages are counted to.
-- Parameter: limit integer = 1000. At most this many rows, the oldest first.
-- Column: storage_backend_id text. UUID of the backend.
-- Column: backend_label text. Label of the backend.
-- Column: object_id text. Id of an Object that this server keeps at another backend, and that is not there.
-- Column: flow_id text. UUID of the Flow that brought it.
-- Column: created time. When its storage was handed out.
-- Column: age_seconds integer. Whole seconds since then.
-- Column: size_bytes integer. Bytes of the Object; null where unknown.
-- Column: missing_objects integer. Objects that are missing at this backend; equal in every row of it.
-- Column: missing_bytes integer. Bytes of those of known size; equal in every row of it.
-- Chart: bars x=backend_label y=missing_objects
WITH targets AS (
    SELECT id, label
    FROM storage_backends
    WHERE CASE WHEN $storage_backend_id IS NULL THEN NOT is_default ELSE id = $storage_backend_id END
), places AS (
    SELECT object_id, storage_id, size_bytes
    FROM object_instances
    WHERE controlled
        AND kind IS NOT NULL
        AND created <= $now - CAST(concat(CAST($older_than_seconds AS VARCHAR), ' seconds') AS INTERVAL)
), kept AS (
    SELECT id, first_flow, created, size_bytes
    FROM objects
    WHERE id IN (SELECT object_id FROM places)
), everywhere AS (
    SELECT count(*) AS objects, COALESCE(sum(size_bytes), 0) AS bytes FROM kept
), there AS (
    SELECT storage_id, count(*) AS objects, COALESCE(sum(size_bytes), 0) AS bytes FROM places GROUP BY storage_id
), totals AS (
    SELECT t.id, e.objects - COALESCE(h.objects, 0) AS objects, e.bytes - COALESCE(h.bytes, 0) AS bytes
    FROM targets t
    CROSS JOIN everywhere e
    LEFT JOIN there h ON h.storage_id = t.id
), missing AS (
    SELECT t.id AS storage_id, t.label, k.id AS object_id, k.first_flow, k.created, k.size_bytes
    FROM targets t
    CROSS JOIN kept k
    WHERE NOT EXISTS (SELECT 1 FROM places p WHERE p.object_id = k.id AND p.storage_id = t.id)
    ORDER BY k.created, k.id, t.id
    LIMIT $limit
)
SELECT m.storage_id AS storage_backend_id, m.label AS backend_label, m.object_id, m.first_flow AS flow_id, m.created,
    CAST(floor(date_part('epoch', $now) - date_part('epoch', CAST(m.created AS TIMESTAMP))) AS BIGINT) AS age_seconds,
    m.size_bytes, t.objects AS missing_objects, CAST(t.bytes AS BIGINT) AS missing_bytes
FROM missing m
JOIN totals t ON t.id = m.storage_id
ORDER BY m.created, m.object_id, m.storage_id
