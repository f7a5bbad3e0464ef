-- Question: How many Objects and bytes are stored, of which sizes, and which Objects are used most and least?
-- Why: Overview; an endpoint that earlier clients know.
-- Shape: object
-- Engine: duckdb
-- Parameter: start_time seconds = null. Only Objects used by a segment that ends after this time on the timeline, and only such uses.
-- Parameter: end_time seconds = null. Only Objects used by a segment that starts before this time, and only such uses.
-- Parameter: storage_backend_id uuid = null. Only Objects with an instance on this storage backend.
-- Column: total_objects integer. Objects that are registered, init Objects too (unless a time is given).
-- Column: total_size_bytes integer. Bytes of them, each counted once, as far as their size is known.
-- Column: average_size_bytes number. Mean of those of known size; 0 without any.
-- Column: size_distribution.small integer. Objects below 1,000,000 bytes.
-- Column: size_distribution.medium integer. Others below 100,000,000 bytes.
-- Column: size_distribution.large integer. Others below 1,000,000,000 bytes.
-- Column: size_distribution.xlarge integer. Larger Objects.
-- Column: most_accessed list. The ten media Objects that most segments use: object_id and access_count, the number of segments.
-- Column: least_accessed list. The ten media Objects that the fewest segments use, likewise.
-- Column: average_access_count number. Segments by media Objects; 0 without any.
-- Column: storage_efficiency number. Bytes of media Objects times the segments that use them, by their bytes: above 1 where sharing saves space; null without any of known size.
-- Column: time_range.start integer. start_time as given, in seconds on the timeline.
-- Column: time_range.end integer. end_time as given, likewise.
-- Chart: none
WITH used AS (
    SELECT object_id, count(*) AS uses
    FROM flow_segments
    WHERE ($start_time IS NULL OR end_seconds >= $start_time)
        AND ($start_time IS NULL OR end_seconds > $start_time OR end_nanoseconds > 0 OR end_inclusive)
        AND ($end_time IS NULL OR start_seconds < $end_time)
    GROUP BY object_id
), asked AS (
    SELECT o.id, o.kind, o.size_bytes, COALESCE(u.uses, 0) AS uses
    FROM objects o
    LEFT JOIN used u ON u.object_id = o.id
    WHERE o.kind IS NOT NULL
        AND ($storage_backend_id IS NULL
            OR o.id IN (SELECT object_id FROM object_instances WHERE storage_id = $storage_backend_id))
        AND (($start_time IS NULL AND $end_time IS NULL) OR u.uses IS NOT NULL)
), total AS (
    SELECT count(*) AS objects,
        CAST(COALESCE(sum(size_bytes), 0) AS BIGINT) AS bytes,
        count(size_bytes) AS sized,
        count(*) FILTER (WHERE size_bytes < 1000000) AS small,
        count(*) FILTER (WHERE size_bytes >= 1000000 AND size_bytes < 100000000) AS medium,
        count(*) FILTER (WHERE size_bytes >= 100000000 AND size_bytes < 1000000000) AS large,
        count(*) FILTER (WHERE size_bytes >= 1000000000) AS xlarge,
        count(*) FILTER (WHERE kind = 'media') AS media,
        CAST(COALESCE(sum(uses), 0) AS BIGINT) AS uses,
        CAST(COALESCE(sum(size_bytes * uses) FILTER (WHERE kind = 'media'), 0) AS BIGINT) AS logical,
        CAST(COALESCE(sum(size_bytes) FILTER (WHERE kind = 'media'), 0) AS BIGINT) AS stored
    FROM asked
), most AS (
    SELECT array_agg({'object_id': id, 'access_count': uses} ORDER BY uses DESC, id) AS objects
    FROM (SELECT id, uses FROM asked WHERE kind = 'media' ORDER BY uses DESC, id LIMIT 10) a
), least AS (
    SELECT array_agg({'object_id': id, 'access_count': uses} ORDER BY uses, id) AS objects
    FROM (SELECT id, uses FROM asked WHERE kind = 'media' ORDER BY uses, id LIMIT 10) a
)
SELECT t.objects AS total_objects,
    t.bytes AS total_size_bytes,
    COALESCE(CAST(t.bytes AS DOUBLE) / NULLIF(CAST(t.sized AS DOUBLE), 0e0), 0e0) AS average_size_bytes,
    t.small AS "size_distribution.small",
    t.medium AS "size_distribution.medium",
    t.large AS "size_distribution.large",
    t.xlarge AS "size_distribution.xlarge",
    COALESCE(m.objects, []) AS most_accessed,
    COALESCE(l.objects, []) AS least_accessed,
    COALESCE(CAST(t.uses AS DOUBLE) / NULLIF(CAST(t.media AS DOUBLE), 0e0), 0e0) AS average_access_count,
    CAST(t.logical AS DOUBLE) / NULLIF(CAST(t.stored AS DOUBLE), 0e0) AS storage_efficiency,
    CAST($start_time AS BIGINT) AS "time_range.start",
    CAST($end_time AS BIGINT) AS "time_range.end"
FROM total t
CROSS JOIN most m
CROSS JOIN least l
ORDER BY total_objects
