-- Question: How many bytes and Objects does each storage backend hold, and how full is it?
-- Why: Contracts and capacity.
-- Shape: table
-- Parameter: storage_backend_id uuid = null. Only this storage backend.
-- Parameter: limit integer = 1000. At most this many rows, the most bytes first.
-- Column: storage_backend_id text. UUID of the backend; null for Objects that somebody else keeps.
-- Column: backend_label text. Label of the backend.
-- Column: provider text. Who runs it.
-- Column: region text. Where it is.
-- Column: objects integer. Instances of Objects there, also of Objects that nothing has referred to yet.
-- Column: bytes integer. Bytes of those of known size.
-- Column: objects_of_unknown_size integer. Instances that bytes does not have.
-- Column: capacity_bytes integer. Bytes that fit there; null where unknown.
-- Column: free_bytes integer. Bytes that are free there; null where unknown.
-- Chart: bars x=backend_label y=bytes
WITH held AS (
    SELECT storage_id, count(*) AS objects, sum(size_bytes) AS bytes, count(*) - count(size_bytes) AS unknown
    FROM object_instances
    WHERE ($storage_backend_id IS NULL OR storage_id = $storage_backend_id)
    GROUP BY storage_id
), backends AS (
    SELECT * FROM storage_backends WHERE ($storage_backend_id IS NULL OR id = $storage_backend_id)
)
SELECT COALESCE(b.id, h.storage_id) AS storage_backend_id, b.label AS backend_label, b.provider, b.region,
    COALESCE(h.objects, 0) AS objects,
    CAST(COALESCE(h.bytes, 0) AS BIGINT) AS bytes,
    COALESCE(h.unknown, 0) AS objects_of_unknown_size,
    b.capacity_bytes, b.free_bytes
FROM backends b
FULL JOIN held h ON h.storage_id = b.id
ORDER BY bytes DESC, storage_backend_id NULLS LAST
LIMIT $limit
