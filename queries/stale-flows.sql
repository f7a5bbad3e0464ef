-- Question: Which Flows say that they are ingesting and have had no new segment for some time?
-- Why: Dead encoders.
-- Shape: table
-- Parameter: older_than_seconds integer = 600. Silent for at least this many seconds.
-- Parameter: source_id uuid = null. Only Flows of this Source.
-- Parameter: now time = now. The moment that the silence is counted to.
-- Parameter: limit integer = 1000. At most this many rows, the longest silent first.
-- Column: flow_id text. UUID of the Flow; those without a container have no segments of their own and are left out.
-- Column: flow_label text. Label of the Flow.
-- Column: source_id text. UUID of its Source.
-- Column: format text. URN of the content format.
-- Column: segments_updated time. When its segments last changed; null where it never had any.
-- Column: silent_seconds integer. Whole seconds since then, or since the Flow was made.
-- Chart: bars x=flow_label y=silent_seconds
SELECT id AS flow_id, label AS flow_label, source_id, format, segments_updated,
    CAST(floor(date_part('epoch', $now)
        - date_part('epoch', CAST(COALESCE(segments_updated, created) AS TIMESTAMP))) AS BIGINT) AS silent_seconds
FROM flows
WHERE status = 'ingesting'
    AND container IS NOT NULL
    AND ($source_id IS NULL OR source_id = $source_id)
    AND COALESCE(segments_updated, created)
        <= $now - CAST(concat(CAST($older_than_seconds AS VARCHAR), ' seconds') AS INTERVAL)
ORDER BY COALESCE(segments_updated, created), id
LIMIT $limit
