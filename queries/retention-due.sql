-- Question: Which segments and Flows are due to be deleted, now and within some days?
-- Why: Free space; legal duty to delete, and proof before it happens.
-- Shape: table
-- Parameter: flow_id uuid = null. Only this Flow.
-- Parameter: source_id uuid = null. Only Flows of this Source.
-- Parameter: days integer = 7. How many days to look ahead.
-- Parameter: now time = now. The moment that the days start at.
-- Parameter: limit integer = 1000. At most this many rows, the most bytes first.
-- Column: flow_id text. UUID of the Flow.
-- Column: flow_label text. Label of the Flow.
-- Column: rule text. Tag that says so: segment_retention_offset (a segment goes this long after its end, if the timeline is TAI), flow_retention_offset (the Flow goes this long after its last change) or loop_recorder_duration (of the Flow the newest seconds are kept; of one with the status ingesting it is taken that recording goes on). Tags that hold no valid time are ignored, as are negative ones.
-- Column: offset_seconds number. What the tag says, in seconds.
-- Column: read_only boolean. Whether the Flow refuses changes, deletion too.
-- Column: flow_due boolean. Whether the Flow itself goes within the days.
-- Column: due_now_segments integer. Segments that are due now.
-- Column: due_segments integer. Segments that are due within the days; those of now, too.
-- Column: due_objects integer. Objects that no other segment uses, and that go with them.
-- Column: due_bytes integer. Bytes of those of known size.
-- Chart: bars x=flow_label y=due_bytes
WITH tagged AS (
    SELECT id, label, status, read_only, metadata_updated, segments_updated, rule, value
    FROM (
        SELECT f.*, 'segment_retention_offset' AS rule,
            CASE WHEN array_length(tags['segment_retention_offset']) = 1
                THEN tags['segment_retention_offset'][1] END AS value
        FROM flows f
        UNION ALL
        SELECT f.*, 'flow_retention_offset' AS rule,
            CASE WHEN array_length(tags['flow_retention_offset']) = 1
                THEN tags['flow_retention_offset'][1] END AS value
        FROM flows f
        UNION ALL
        SELECT f.*, 'loop_recorder_duration' AS rule,
            CASE WHEN array_length(tags['loop_recorder_duration']) = 1
                THEN concat(tags['loop_recorder_duration'][1], ':0') END AS value
        FROM flows f
    ) t
    WHERE ($flow_id IS NULL OR id = $flow_id)
        AND ($source_id IS NULL OR source_id = $source_id)
), ruled AS (
    SELECT t.*,
        CAST(split_part(value, ':', 1) AS BIGINT) AS offset_s,
        CAST(split_part(value, ':', 2) AS BIGINT) AS offset_ns
    FROM (
        SELECT *
        FROM tagged
        WHERE value <> '' AND regexp_replace(value, '^(0|[1-9][0-9]{0,14}):(0|[1-9][0-9]{0,8})$', '') = ''
            AND (rule <> 'loop_recorder_duration' OR value <> '0:0')
    ) t
), newest AS (
    SELECT flow_id, max(end_seconds) AS end_seconds
    FROM flow_coverage
    WHERE flow_id IN (SELECT id FROM ruled WHERE rule = 'loop_recorder_duration')
    GROUP BY flow_id
), timed AS (
    -- Due is what ends offset_ns, or more, before now_s or then_s.
    SELECT r.id, r.label, r.rule, r.offset_s, r.offset_ns, r.read_only,
        CASE r.rule
            WHEN 'segment_retention_offset' THEN utc_to_tai_seconds($now) - r.offset_s
            WHEN 'loop_recorder_duration' THEN n.end_seconds - r.offset_s
            ELSE CASE WHEN CAST(r.offset_s AS DOUBLE) <= date_part('epoch', $now)
                - date_part('epoch', CAST(GREATEST(r.metadata_updated, COALESCE(r.segments_updated, r.metadata_updated))
                    AS TIMESTAMP)) THEN 300000000000000 ELSE -300000000000000 END
        END AS now_s,
        CASE r.rule
            WHEN 'segment_retention_offset' THEN utc_to_tai_seconds($now) + $days * 86400 - r.offset_s
            WHEN 'loop_recorder_duration' THEN n.end_seconds - r.offset_s
                + CASE WHEN r.status = 'ingesting' THEN $days * 86400 ELSE 0 END
            ELSE CASE WHEN CAST(r.offset_s AS DOUBLE) <= date_part('epoch', $now) + CAST($days * 86400 AS DOUBLE)
                - date_part('epoch', CAST(GREATEST(r.metadata_updated, COALESCE(r.segments_updated, r.metadata_updated))
                    AS TIMESTAMP)) THEN 300000000000000 ELSE -300000000000000 END
        END AS then_s
    FROM ruled r
    LEFT JOIN newest n ON n.flow_id = r.id
), due AS (
    SELECT s.flow_id, t.rule, s.object_id,
        s.end_seconds < t.now_s - 1 OR (s.end_seconds = t.now_s AND s.end_nanoseconds = 0 AND t.offset_ns = 0)
            OR (s.end_seconds = t.now_s - 1 AND s.end_nanoseconds + t.offset_ns <= 1000000000) AS due_now
    FROM timed t
    JOIN flow_segments s ON s.flow_id = t.id
    WHERE s.end_seconds < t.then_s - 1 OR (s.end_seconds = t.then_s AND s.end_nanoseconds = 0 AND t.offset_ns = 0)
        OR (s.end_seconds = t.then_s - 1 AND s.end_nanoseconds + t.offset_ns <= 1000000000)
), due_objects AS (
    SELECT flow_id, rule, object_id, count(*) AS uses, sum(CASE WHEN due_now THEN 1 ELSE 0 END) AS uses_now
    FROM due
    GROUP BY flow_id, rule, object_id
), all_uses AS (
    SELECT object_id, count(*) AS uses
    FROM flow_segments
    WHERE object_id IN (SELECT object_id FROM due)
    GROUP BY object_id
), freed AS (
    SELECT d.flow_id, d.rule,
        CAST(sum(d.uses) AS BIGINT) AS due_segments,
        CAST(sum(d.uses_now) AS BIGINT) AS due_now_segments,
        count(*) FILTER (WHERE d.uses = a.uses) AS due_objects,
        CAST(COALESCE(sum(CASE WHEN d.uses = a.uses THEN o.size_bytes END), 0) AS BIGINT) AS due_bytes
    FROM due_objects d
    JOIN all_uses a ON a.object_id = d.object_id
    LEFT JOIN objects o ON o.id = d.object_id
    GROUP BY d.flow_id, d.rule
)
SELECT t.id AS flow_id, t.label AS flow_label, t.rule,
    CAST(t.offset_s AS DOUBLE) + CAST(t.offset_ns AS DOUBLE) / 1e9 AS offset_seconds,
    t.read_only,
    t.rule = 'flow_retention_offset' AND t.then_s > 0 AS flow_due,
    COALESCE(d.due_now_segments, 0) AS due_now_segments,
    COALESCE(d.due_segments, 0) AS due_segments,
    COALESCE(d.due_objects, 0) AS due_objects,
    COALESCE(d.due_bytes, 0) AS due_bytes
FROM timed t
LEFT JOIN freed d ON d.flow_id = t.id AND d.rule = t.rule
WHERE d.due_segments > 0 OR (t.rule = 'flow_retention_offset' AND t.then_s > 0)
ORDER BY due_bytes DESC, t.id, t.rule
LIMIT $limit
