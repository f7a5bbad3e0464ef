-- Question: What does each Source have: Flows, segments, bytes?
-- Why: Overview; an endpoint that earlier clients know.
-- Shape: list
-- Parameter: source_id uuid = null. Only this Source.
-- Parameter: limit integer = 10000. At most this many rows, the newest Sources first.
-- Column: source_id text. UUID of the Source.
-- Column: source_label text. Label of the Source.
-- Column: flow_count integer. Flows of the Source.
-- Column: segment_count integer. Segments of these Flows.
-- Column: total_size_bytes integer. Bytes of the media Objects that these Flows use, each counted once for the Source, as far as their size is known.
-- Column: created time. When its first Flow was put.
-- Chart: bars x=source_label y=total_size_bytes
WITH flow_counts AS (
    SELECT source_id, count(*) AS flows
    FROM flows
    WHERE ($source_id IS NULL OR source_id = $source_id)
    GROUP BY source_id
), used AS (
    SELECT f.source_id, s.object_id, count(*) AS segments
    FROM flows f
    JOIN flow_segments s ON s.flow_id = f.id
    WHERE ($source_id IS NULL OR f.source_id = $source_id)
    GROUP BY f.source_id, s.object_id
), lenders AS (
    -- Flows that brought the Objects: those of others need not be looked at.
    SELECT DISTINCT COALESCE(object_flow, flow_id) AS id
    FROM flow_segments
    WHERE $source_id IS NOT NULL AND flow_id IN (SELECT id FROM flows WHERE source_id = $source_id)
), sizes AS (
    SELECT id, size_bytes FROM objects WHERE $source_id IS NULL
    UNION ALL
    SELECT o.id, o.size_bytes FROM lenders l JOIN objects o ON o.first_flow = l.id
), stored AS (
    SELECT u.source_id, CAST(sum(u.segments) AS BIGINT) AS segments,
        CAST(COALESCE(sum(o.size_bytes), 0) AS BIGINT) AS bytes
    FROM used u
    LEFT JOIN sizes o ON o.id = u.object_id
    GROUP BY u.source_id
)
SELECT s.id AS source_id, s.label AS source_label, COALESCE(f.flows, 0) AS flow_count,
    COALESCE(t.segments, 0) AS segment_count, COALESCE(t.bytes, 0) AS total_size_bytes, s.created
FROM sources s
LEFT JOIN flow_counts f ON f.source_id = s.id
LEFT JOIN stored t ON t.source_id = s.id
WHERE ($source_id IS NULL OR s.id = $source_id)
ORDER BY s.created DESC, s.id
LIMIT $limit
