-- Question: Which Objects are not yet at the second storage backend, and how old is the oldest?
-- Why: The promise of disaster recovery.
-- Shape: table
-- Parameter: storage_backend_id uuid = null. Where Objects should be; without it, every backend but the default one.
-- Parameter: older_than_seconds integer = 0. Only Objects that were made more than this many seconds ago.
-- Parameter: now time = now. The moment that ages are counted to.
-- Parameter: limit integer = 1000. At most this many rows, the oldest of each backend first.
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
), kept AS (
    SELECT object_id, storage_id, first_flow, created, size_bytes
    FROM object_instances
    WHERE controlled
        AND kind IS NOT NULL
        AND created <= $now - CAST(concat(CAST($older_than_seconds AS VARCHAR), ' seconds') AS INTERVAL)
), placed AS (
    SELECT t.id AS storage_id, t.label, k.object_id, min(k.first_flow) AS first_flow, min(k.created) AS created,
        max(k.size_bytes) AS size_bytes
    FROM kept k
    CROSS JOIN targets t
    GROUP BY t.id, t.label, k.object_id
    HAVING max(CASE WHEN k.storage_id = t.id THEN 1 ELSE 0 END) = 0
), counted AS (
    SELECT *,
        count(*) OVER (PARTITION BY storage_id) AS objects,
        sum(size_bytes) OVER (PARTITION BY storage_id) AS bytes
    FROM placed
)
SELECT storage_id AS storage_backend_id, label AS backend_label, object_id, first_flow AS flow_id, created,
    CAST(floor(date_part('epoch', $now) - date_part('epoch', CAST(created AS TIMESTAMP))) AS BIGINT) AS age_seconds,
    size_bytes, objects AS missing_objects, CAST(COALESCE(bytes, 0) AS BIGINT) AS missing_bytes
FROM counted
ORDER BY storage_id, created, object_id
LIMIT $limit
