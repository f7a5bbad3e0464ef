-- Question: How much does each storage backend grow per day, and when is it full?
-- Why: Buy in time.
-- Shape: table
-- Engine: duckdb
-- Parameter: storage_backend_id uuid = null. Only this storage backend.
-- Parameter: days integer = 30. The last days (of UTC), today too; 3660 at most.
-- Parameter: now time = now. The moment that the last day is of.
-- Parameter: limit integer = 10000. At most this many rows.
-- Column: storage_backend_id text. UUID of the backend.
-- Column: backend_label text. Label of the backend.
-- Column: day date. The day, of UTC.
-- Column: objects integer. Objects that came that day: their storage was handed out then.
-- Column: bytes integer. Bytes of those of known size.
-- Column: average_bytes_per_day number. Mean of the days; equal in every row of the backend.
-- Column: free_bytes integer. Bytes that are free now; null where unknown.
-- Column: days_until_full number. Days until the backend is full at that mean; null where it does not grow or free space is unknown.
-- Chart: line x=day y=bytes series=backend_label
WITH spans AS (
    SELECT CAST(CASE WHEN $days < 1 THEN 1 WHEN $days > 3660 THEN 3660 ELSE $days END AS INTEGER) AS days
), numbers AS (
    SELECT days, unnest(generate_series(CAST(0 AS BIGINT), CAST(days - 1 AS BIGINT))) AS back FROM spans
), calendar AS (
    SELECT days, CAST(CAST($now AS TIMESTAMP) AS DATE) - CAST(back AS INTEGER) AS day FROM numbers
), came AS (
    SELECT storage_id, CAST(CAST(created AS TIMESTAMP) AS DATE) AS day, count(*) AS objects, sum(size_bytes) AS bytes
    FROM object_instances
    WHERE controlled
        AND ($storage_backend_id IS NULL OR storage_id = $storage_backend_id)
        AND created >= $now - CAST(concat(CAST($days AS VARCHAR), ' days') AS INTERVAL)
        AND created <= $now
    GROUP BY storage_id, CAST(CAST(created AS TIMESTAMP) AS DATE)
), backends AS (
    SELECT id, max(label) AS label, max(free_bytes) AS free_bytes
    FROM (
        SELECT id, label, free_bytes FROM storage_backends
        UNION ALL
        SELECT storage_id, NULL, NULL FROM came
    ) b
    WHERE ($storage_backend_id IS NULL OR id = $storage_backend_id)
    GROUP BY id
), grown AS (
    SELECT b.id, b.label, b.free_bytes, c.day, c.days,
        COALESCE(a.objects, 0) AS objects,
        CAST(COALESCE(a.bytes, 0) AS BIGINT) AS bytes
    FROM backends b
    CROSS JOIN calendar c
    LEFT JOIN came a ON a.storage_id = b.id AND a.day = c.day
), averaged AS (
    SELECT *, CAST(CAST(sum(bytes) OVER (PARTITION BY id) AS BIGINT) AS DOUBLE) / CAST(days AS DOUBLE) AS average
    FROM grown
)
SELECT id AS storage_backend_id, label AS backend_label, day, objects, bytes, average AS average_bytes_per_day,
    free_bytes, CAST(free_bytes AS DOUBLE) / NULLIF(average, 0e0) AS days_until_full
FROM averaged
ORDER BY id, day
LIMIT $limit
