-- Question: What does storage cost per month, by storage backend and Source?
-- Why: Charge it back to who uses it.
-- Shape: table
-- Parameter: price_per_tb_month number = 20. Price of 10^12 bytes for a month, in any currency.
-- Parameter: storage_backend_id uuid = null. Only this storage backend: each has a price of its own.
-- Parameter: backend_label text = null. Only storage backends with this label.
-- Parameter: source_id uuid = null. Only this Source.
-- Parameter: limit integer = 1000. At most this many rows, the dearest first.
-- Column: storage_backend_id text. UUID of the backend.
-- Column: backend_label text. Label of the backend.
-- Column: source_id text. UUID of the Source whose Flows brought the Objects; null where the Flow is gone.
-- Column: source_label text. Label of the Source.
-- Column: objects integer. Instances of Objects on the backend.
-- Column: bytes integer. Bytes of those of known size.
-- Column: objects_of_unknown_size integer. Instances that bytes, and the cost, do not have.
-- Column: cost_per_month number. Bytes times the price, in the currency of the price.
-- Chart: bars x=source_label y=cost_per_month
WITH held AS (
    SELECT storage_id, first_flow, count(*) AS objects, sum(size_bytes) AS bytes,
        count(*) - count(size_bytes) AS unknown
    FROM object_instances
    WHERE controlled
        AND ($storage_backend_id IS NULL OR storage_id = $storage_backend_id)
        AND ($backend_label IS NULL OR storage_id IN (SELECT id FROM storage_backends WHERE label = $backend_label))
        AND ($source_id IS NULL OR first_flow IN (SELECT id FROM flows WHERE source_id = $source_id))
    GROUP BY storage_id, first_flow
), charged AS (
    SELECT h.storage_id, f.source_id,
        CAST(sum(h.objects) AS BIGINT) AS objects,
        CAST(COALESCE(sum(h.bytes), 0) AS BIGINT) AS bytes,
        CAST(sum(h.unknown) AS BIGINT) AS objects_of_unknown_size
    FROM held h
    LEFT JOIN flows f ON f.id = h.first_flow
    GROUP BY h.storage_id, f.source_id
)
SELECT c.storage_id AS storage_backend_id, b.label AS backend_label, c.source_id, s.label AS source_label, c.objects,
    c.bytes, c.objects_of_unknown_size, CAST(c.bytes AS DOUBLE) / 1e12 * $price_per_tb_month AS cost_per_month
FROM charged c
LEFT JOIN storage_backends b ON b.id = c.storage_id
LEFT JOIN sources s ON s.id = c.source_id
ORDER BY cost_per_month DESC, c.storage_id, c.source_id NULLS LAST
LIMIT $limit
