-- Functions that give tables, over the views.

-- Gaps of all Flows that are longer than some seconds: FROM gaps(0.5).
CREATE OR REPLACE MACRO gaps(tolerance_seconds) AS TABLE
    SELECT flow_id, timerange_text(before_seconds, before_nanoseconds, NOT before_inclusive,
            start_seconds, start_nanoseconds, NOT start_inclusive) AS timerange, gap_seconds
    FROM (
        SELECT *, (start_seconds - before_seconds) + (start_nanoseconds - before_nanoseconds) / 1e9 AS gap_seconds
        FROM (
            SELECT flow_id, start_seconds, start_nanoseconds, start_inclusive,
                lag(end_seconds) OVER w AS before_seconds,
                lag(end_nanoseconds) OVER w AS before_nanoseconds,
                lag(end_inclusive) OVER w AS before_inclusive
            FROM flow_coverage
            WINDOW w AS (PARTITION BY flow_id ORDER BY start_seconds, start_nanoseconds, start_inclusive DESC)
        )
    )
    WHERE gap_seconds > tolerance_seconds
    ORDER BY gap_seconds DESC, flow_id, before_seconds, before_nanoseconds, start_seconds, start_nanoseconds;
