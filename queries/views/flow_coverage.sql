-- View: flow_coverage
-- One row a stretch of a Flow's timeline that its segments cover without a gap; as long as it can be.
-- Two segments belong together when one starts where the other ends and the instant between them is in one of them.
-- Column: flow_id text. UUID of the Flow.
-- Column: start_seconds integer. Whole seconds, rounded down, of the start.
-- Column: start_nanoseconds integer. Nanoseconds above them.
-- Column: start_inclusive boolean. Whether the start itself belongs to it.
-- Column: end_seconds integer. Whole seconds, rounded down, of the end.
-- Column: end_nanoseconds integer. Nanoseconds above them.
-- Column: end_inclusive boolean. Whether the end itself belongs to it.
-- Column: segments integer. Segments in it.
WITH neighbours AS (
    SELECT flow_id, start_seconds, start_nanoseconds, start_inclusive, end_seconds, end_nanoseconds, end_inclusive,
        row_number() OVER w AS place,
        lag(end_seconds) OVER w AS before_seconds,
        lag(end_nanoseconds) OVER w AS before_nanoseconds,
        lag(end_inclusive) OVER w AS before_inclusive,
        lead(start_seconds) OVER w AS after_seconds,
        lead(start_nanoseconds) OVER w AS after_nanoseconds,
        lead(start_inclusive) OVER w AS after_inclusive
    FROM raw.flow_segments
    WINDOW w AS (PARTITION BY flow_id ORDER BY start_seconds, start_nanoseconds, start_inclusive DESC)
), marked AS (
    SELECT *,
        NOT COALESCE(before_seconds = start_seconds AND before_nanoseconds = start_nanoseconds
            AND (before_inclusive OR start_inclusive), FALSE) AS opens,
        NOT COALESCE(after_seconds = end_seconds AND after_nanoseconds = end_nanoseconds
            AND (after_inclusive OR end_inclusive), FALSE) AS closes
    FROM neighbours
), edges AS (
    SELECT *,
        lead(end_seconds) OVER w AS last_seconds,
        lead(end_nanoseconds) OVER w AS last_nanoseconds,
        lead(end_inclusive) OVER w AS last_inclusive,
        lead(place) OVER w AS last_place
    FROM marked
    WHERE opens OR closes
    WINDOW w AS (PARTITION BY flow_id ORDER BY place)
)
SELECT flow_id, start_seconds, start_nanoseconds, start_inclusive,
    CASE WHEN closes THEN end_seconds ELSE last_seconds END AS end_seconds,
    CASE WHEN closes THEN end_nanoseconds ELSE last_nanoseconds END AS end_nanoseconds,
    CASE WHEN closes THEN end_inclusive ELSE last_inclusive END AS end_inclusive,
    CASE WHEN closes THEN CAST(1 AS BIGINT) ELSE CAST(last_place AS BIGINT) - CAST(place AS BIGINT) + 1 END AS segments
FROM edges
WHERE opens
