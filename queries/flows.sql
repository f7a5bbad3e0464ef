-- Question: What does each Flow have: segments, time, bytes?
-- Why: Overview; an endpoint that earlier clients know.
-- Shape: list
-- Parameter: flow_id uuid = null. Only this Flow.
-- Parameter: source_id uuid = null. Only Flows of this Source.
-- Parameter: limit integer = 10000. At most this many rows, the newest Flows first.
-- Column: flow_id text. UUID of the Flow.
-- Column: flow_label text. Label of the Flow.
-- Column: source_id text. UUID of its Source.
-- Column: format text. URN of the content format.
-- Column: segment_count integer. Segments of the Flow.
-- Column: total_duration_seconds number. Sum of their lengths in seconds.
-- Column: total_size_bytes integer. Bytes of the media Objects that they use, each counted once for the Flow, as far as their size is known.
-- Column: created time. When the Flow was first put.
-- Chart: bars x=flow_label y=total_size_bytes
WITH used AS (
    SELECT flow_id, object_id, count(*) AS segments, sum(end_seconds - start_seconds) AS long_s,
        sum(end_nanoseconds - start_nanoseconds) AS long_ns
    FROM flow_segments
    WHERE ($flow_id IS NULL OR flow_id = $flow_id)
        AND ($source_id IS NULL OR flow_id IN (SELECT id FROM flows WHERE source_id = $source_id))
    GROUP BY flow_id, object_id
), lenders AS (
    -- Flows that brought the Objects: those of others need not be looked at.
    SELECT DISTINCT COALESCE(object_flow, flow_id) AS id
    FROM flow_segments
    WHERE ($flow_id IS NOT NULL OR $source_id IS NOT NULL)
        AND ($flow_id IS NULL OR flow_id = $flow_id)
        AND ($source_id IS NULL OR flow_id IN (SELECT id FROM flows WHERE source_id = $source_id))
), sizes AS (
    SELECT id, size_bytes FROM objects WHERE $flow_id IS NULL AND $source_id IS NULL
    UNION ALL
    SELECT o.id, o.size_bytes FROM lenders l JOIN objects o ON o.first_flow = l.id
), stored AS (
    SELECT u.flow_id, CAST(sum(u.segments) AS BIGINT) AS segments,
        CAST(sum(u.long_s) AS DOUBLE) + CAST(sum(u.long_ns) AS DOUBLE) / 1e9 AS seconds,
        CAST(COALESCE(sum(o.size_bytes), 0) AS BIGINT) AS bytes
    FROM used u
    LEFT JOIN sizes o ON o.id = u.object_id
    GROUP BY u.flow_id
)
SELECT f.id AS flow_id, f.label AS flow_label, f.source_id, f.format, COALESCE(t.segments, 0) AS segment_count,
    COALESCE(t.seconds, 0e0) AS total_duration_seconds, COALESCE(t.bytes, 0) AS total_size_bytes, f.created
FROM flows f
LEFT JOIN stored t ON t.flow_id = f.id
WHERE ($flow_id IS NULL OR f.id = $flow_id)
    AND ($source_id IS NULL OR f.source_id = $source_id)
ORDER BY f.created DESC, f.id
LIMIT $limit
