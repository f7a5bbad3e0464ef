-- Question: Which gaps longer than a tolerance does each Flow have?
-- Why: Lost air time; proof for compliance.
-- Shape: table
-- Parameter: flow_id uuid = null. Only this Flow.
-- Parameter: source_id uuid = null. Only Flows of this Source.
-- Parameter: start_time seconds = null. Only gaps that end after this time on the timeline.
-- Parameter: end_time seconds = null. Only gaps that start before this time on the timeline.
-- Parameter: tolerance_seconds number = 0. Only gaps longer than this many seconds.
-- Parameter: limit integer = 1000. At most this many rows, the longest gaps first.
-- Column: flow_id text. UUID of the Flow.
-- Column: flow_label text. Label of the Flow.
-- Column: source_id text. UUID of the Flow's Source.
-- Column: timerange text. The gap as a TAMS timerange: nothing of it is covered.
-- Column: gap_start_seconds integer. Whole seconds, rounded down, of the gap's start on the timeline.
-- Column: gap_start_nanoseconds integer. Nanoseconds above them.
-- Column: gap_end_seconds integer. Whole seconds, rounded down, of the gap's end.
-- Column: gap_end_nanoseconds integer. Nanoseconds above them.
-- Column: gap_seconds number. Length of the gap in seconds.
-- Chart: bars x=flow_label y=gap_seconds
WITH stretches AS (
    SELECT flow_id, start_seconds, start_nanoseconds, start_inclusive,
        lag(end_seconds) OVER w AS before_seconds,
        lag(end_nanoseconds) OVER w AS before_nanoseconds,
        lag(end_inclusive) OVER w AS before_inclusive
    FROM flow_coverage
    WHERE ($flow_id IS NULL OR flow_id = $flow_id)
        AND ($source_id IS NULL OR flow_id IN (SELECT id FROM flows WHERE source_id = $source_id))
    WINDOW w AS (PARTITION BY flow_id ORDER BY start_seconds, start_nanoseconds, start_inclusive DESC)
), gaps AS (
    SELECT *,
        CAST(start_seconds - before_seconds AS DOUBLE)
            + CAST(start_nanoseconds - before_nanoseconds AS DOUBLE) / 1e9 AS gap_seconds
    FROM stretches
    WHERE before_seconds IS NOT NULL
        AND ($start_time IS NULL OR start_seconds > $start_time
            OR (start_seconds = $start_time AND start_nanoseconds > 0))
        AND ($end_time IS NULL OR before_seconds < $end_time)
)
SELECT g.flow_id, f.label AS flow_label, f.source_id,
    timerange_text(g.before_seconds, g.before_nanoseconds, NOT g.before_inclusive,
        g.start_seconds, g.start_nanoseconds, NOT g.start_inclusive) AS timerange,
    g.before_seconds AS gap_start_seconds, g.before_nanoseconds AS gap_start_nanoseconds,
    g.start_seconds AS gap_end_seconds, g.start_nanoseconds AS gap_end_nanoseconds, g.gap_seconds
FROM gaps g
LEFT JOIN flows f ON f.id = g.flow_id
WHERE g.gap_seconds > $tolerance_seconds
ORDER BY g.gap_seconds DESC, g.flow_id, g.before_seconds, g.before_nanoseconds, g.start_seconds, g.start_nanoseconds
LIMIT $limit
