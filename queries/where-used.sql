-- Question: Where is this clip used: which other segments share its Objects?
-- Why: Rights, take-down, legal hold.
-- Shape: table
-- Parameter: flow_id uuid = null. Flow of the clip. This or object_id has to be given; without either there are no rows.
-- Parameter: object_id text = null. Id of a media Object.
-- Parameter: start_time seconds = null. The clip starts here on the Flow's timeline.
-- Parameter: end_time seconds = null. The clip ends here on the Flow's timeline.
-- Parameter: limit integer = 1000. At most this many rows.
-- Column: flow_id text. UUID of a Flow that uses an Object of the clip; the clip's own Flow, too, if object_id is given or if it uses the Object again outside of the clip.
-- Column: flow_label text. Label of that Flow.
-- Column: source_id text. UUID of its Source.
-- Column: source_label text. Label of its Source.
-- Column: timerange text. Timerange of the segment on that Flow's timeline.
-- Column: start_seconds integer. Whole seconds, rounded down, of its start.
-- Column: end_seconds integer. Whole seconds, rounded down, of its end.
-- Column: object_id text. Id of the Object.
-- Chart: none
WITH clip AS (
    SELECT DISTINCT object_id, COALESCE(object_flow, flow_id) AS lender
    FROM flow_segments
    WHERE $flow_id IS NOT NULL
        AND flow_id = $flow_id
        AND ($object_id IS NULL OR object_id = $object_id)
        AND ($start_time IS NULL OR end_seconds >= $start_time)
        AND ($start_time IS NULL OR end_seconds > $start_time OR end_nanoseconds > 0 OR end_inclusive)
        AND ($end_time IS NULL OR start_seconds < $end_time)
    UNION ALL
    SELECT id, first_flow
    FROM objects
    WHERE $flow_id IS NULL AND id = $object_id
), lenders AS (
    SELECT DISTINCT lender AS id FROM clip
), likely AS (
    -- Whoever uses an Object is the Flow that brought it, or names that Flow.
    SELECT s.flow_id, s.start_seconds, s.start_nanoseconds, s.start_inclusive, s.end_seconds, s.end_nanoseconds,
        s.end_inclusive, s.object_id
    FROM lenders l
    JOIN flow_segments s ON s.flow_id = l.id
    WHERE s.object_flow IS NULL OR s.object_flow = s.flow_id
    UNION ALL
    SELECT s.flow_id, s.start_seconds, s.start_nanoseconds, s.start_inclusive, s.end_seconds, s.end_nanoseconds,
        s.end_inclusive, s.object_id
    FROM lenders l
    JOIN flow_segments s ON s.object_flow = l.id
    WHERE s.object_flow <> s.flow_id
)
SELECT s.flow_id, f.label AS flow_label, f.source_id, r.label AS source_label,
    timerange_text(s.start_seconds, s.start_nanoseconds, s.start_inclusive,
        s.end_seconds, s.end_nanoseconds, s.end_inclusive) AS timerange,
    s.start_seconds, s.end_seconds, s.object_id
FROM (SELECT DISTINCT object_id FROM clip) c
JOIN likely s ON s.object_id = c.object_id
LEFT JOIN flows f ON f.id = s.flow_id
LEFT JOIN sources r ON r.id = f.source_id
WHERE NOT ($flow_id IS NOT NULL AND s.flow_id = $flow_id
        AND ($start_time IS NULL OR s.end_seconds > $start_time
            OR (s.end_seconds = $start_time AND (s.end_nanoseconds > 0 OR s.end_inclusive)))
        AND ($end_time IS NULL OR s.start_seconds < $end_time))
ORDER BY s.flow_id, s.start_seconds, s.start_nanoseconds, s.start_inclusive DESC
LIMIT $limit
