-- Question: How much does sharing Objects save, and which Objects are used most often?
-- Why: The saving that editing by reference promises.
-- Shape: table
-- Engine: duckdb
-- Parameter: limit integer = 100. At most this many Objects, the most used first.
-- Column: object_id text. Id of the media Object.
-- Column: uses integer. Segments that use it.
-- Column: flows integer. Flows that these segments belong to.
-- Column: first_flow text. UUID of the Flow that brought it.
-- Column: first_flow_label text. Label of that Flow.
-- Column: size_bytes integer. Bytes of the Object; null where unknown.
-- Column: logical_bytes integer. Bytes of the Object times uses: what copies would take.
-- Column: all_logical_bytes integer. The same of all media Objects that segments use; equal in every row.
-- Column: all_stored_bytes integer. Bytes of those Objects, each once; equal in every row.
-- Column: all_ratio number. Logical bytes divided by stored bytes, of all; null where nothing has a known size.
-- Chart: bars x=object_id y=uses
WITH used AS (
    SELECT object_id, count(*) AS uses
    FROM flow_segments
    GROUP BY object_id
), sized AS (
    SELECT u.object_id, u.uses, o.first_flow, o.size_bytes,
        sum(o.size_bytes * u.uses) OVER () AS all_logical,
        sum(o.size_bytes) OVER () AS all_stored
    FROM used u
    JOIN objects o ON o.id = u.object_id
), top AS (
    SELECT * FROM sized ORDER BY uses DESC, object_id LIMIT $limit
), spread AS (
    SELECT s.object_id, count(DISTINCT s.flow_id) AS flows
    FROM flow_segments s
    WHERE s.object_id IN (SELECT object_id FROM top)
    GROUP BY s.object_id
)
SELECT t.object_id, t.uses, p.flows, t.first_flow, f.label AS first_flow_label, t.size_bytes,
    t.size_bytes * t.uses AS logical_bytes,
    CAST(COALESCE(t.all_logical, 0) AS BIGINT) AS all_logical_bytes,
    CAST(COALESCE(t.all_stored, 0) AS BIGINT) AS all_stored_bytes,
    CAST(t.all_logical AS DOUBLE) / NULLIF(CAST(t.all_stored AS DOUBLE), 0e0) AS all_ratio
FROM top t
JOIN spread p ON p.object_id = t.object_id
LEFT JOIN flows f ON f.id = t.first_flow
ORDER BY t.uses DESC, t.object_id
