-- Question: Which segments point at an Object that is missing, empty, or does not hold the time that they use?
-- Why: Black frames on air.
-- Shape: table
-- Engine: duckdb
-- Parameter: flow_id uuid = null. Only this Flow.
-- Parameter: source_id uuid = null. Only Flows of this Source.
-- Parameter: start_time seconds = null. Only segments that end after this time on the timeline.
-- Parameter: end_time seconds = null. Only segments that start before this time on the timeline.
-- Parameter: unknown_size boolean = false. Whether Objects that this server keeps and whose size it does not know count, too: their bytes may never have come.
-- Parameter: limit integer = 1000. At most this many rows.
-- Column: flow_id text. UUID of the Flow.
-- Column: flow_label text. Label of the Flow.
-- Column: timerange text. Timerange of the segment.
-- Column: object_id text. Id of the media Object.
-- Column: reason text. missing: there is no such Object; no instance: its bytes are nowhere; empty: it has no bytes; outside: the segment uses time that the Object does not have; init missing: there is no such init Object; unknown size. The first that is true.
-- Column: size_bytes integer. Bytes of the Object; null where unknown.
-- Chart: bars x=reason y=count
WITH used AS (
    SELECT flow_id, start_seconds, start_nanoseconds, start_inclusive, end_seconds, end_nanoseconds, end_inclusive,
        object_id, init_object, ts_offset_seconds, ts_offset_nanoseconds, COALESCE(object_flow, flow_id) AS lender
    FROM flow_segments
    WHERE ($flow_id IS NULL OR flow_id = $flow_id)
        AND ($source_id IS NULL OR flow_id IN (SELECT id FROM flows WHERE source_id = $source_id))
        AND ($start_time IS NULL OR end_seconds >= $start_time)
        AND ($start_time IS NULL OR end_seconds > $start_time OR end_nanoseconds > 0 OR end_inclusive)
        AND ($end_time IS NULL OR start_seconds < $end_time)
), inits AS (
    SELECT id FROM objects WHERE kind = 'init'
), lenders AS (
    -- Flows that brought the Objects: those of others need not be looked at.
    SELECT DISTINCT lender AS id
    FROM used
    WHERE $flow_id IS NOT NULL OR $source_id IS NOT NULL OR $start_time IS NOT NULL OR $end_time IS NOT NULL
), likely AS (
    SELECT *
    FROM objects
    WHERE $flow_id IS NULL AND $source_id IS NULL AND $start_time IS NULL AND $end_time IS NULL
    UNION ALL
    SELECT o.* FROM lenders l JOIN objects o ON o.first_flow = l.id
), judged AS (
    SELECT u.*, o.size_bytes,
        CASE
            WHEN o.id IS NULL THEN 'missing'
            WHEN o.instance_count = 0 THEN 'no instance'
            WHEN o.size_bytes = 0 THEN 'empty'
            -- Object time = Flow time - ts_offset. Whole seconds decide, less what the nanoseconds borrow.
            WHEN u.start_seconds - u.ts_offset_seconds - o.start_seconds
                < CASE WHEN u.start_nanoseconds - u.ts_offset_nanoseconds - o.start_nanoseconds < -1000000000 THEN 2
                    WHEN u.start_nanoseconds - u.ts_offset_nanoseconds - o.start_nanoseconds < 0 THEN 1
                    ELSE 0 END THEN 'outside'
            WHEN u.end_seconds - u.ts_offset_seconds - o.end_seconds
                > CASE WHEN o.end_nanoseconds + u.ts_offset_nanoseconds - u.end_nanoseconds < 0 THEN -1
                    WHEN o.end_nanoseconds + u.ts_offset_nanoseconds - u.end_nanoseconds >= 1000000000 THEN 1
                    ELSE 0 END THEN 'outside'
            WHEN u.init_object IS NOT NULL AND i.id IS NULL THEN 'init missing'
            WHEN $unknown_size AND o.size_bytes IS NULL AND o.content_type IS NOT NULL THEN 'unknown size'
        END AS reason
    FROM used u
    LEFT JOIN likely o ON o.id = u.object_id
    LEFT JOIN inits i ON i.id = u.init_object
)
SELECT j.flow_id, f.label AS flow_label,
    timerange_text(j.start_seconds, j.start_nanoseconds, j.start_inclusive,
        j.end_seconds, j.end_nanoseconds, j.end_inclusive) AS timerange,
    j.object_id, j.reason, j.size_bytes
FROM judged j
LEFT JOIN flows f ON f.id = j.flow_id
WHERE j.reason IS NOT NULL
ORDER BY j.flow_id, j.start_seconds, j.start_nanoseconds, j.start_inclusive DESC
LIMIT $limit
