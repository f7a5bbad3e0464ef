-- Question: How long after its media ends is a segment registered, for each Flow?
-- Why: Editing while recording works only if the lag is small.
-- Shape: table
-- Parameter: flow_id uuid = null. Only this Flow.
-- Parameter: source_id uuid = null. Only Flows of this Source.
-- Parameter: days integer = 7. Only segments that were registered in the last days.
-- Parameter: max_lag_seconds integer = 86400. Segments further from their media's end than this many seconds are no live ingest: left out, as are those that use an Object of another Flow.
-- Parameter: now time = now. The moment that the days end at.
-- Parameter: limit integer = 1000. At most this many rows, the largest lag first.
-- Column: flow_id text. UUID of the Flow.
-- Column: flow_label text. Label of the Flow.
-- Column: source_id text. UUID of the Flow's Source.
-- Column: segments integer. Segments counted.
-- Column: lag_p50_seconds number. Half of the segments had at most this lag, in seconds, rounded down to milliseconds.
-- Column: lag_p95_seconds number. 95 in 100 segments had at most this lag, in seconds.
-- Column: lag_min_seconds number. Smallest lag in seconds; below zero where a clock is wrong.
-- Column: lag_max_seconds number. Largest lag in seconds.
-- Column: last_registered time. When the newest of them was registered.
-- Chart: bars x=flow_label y=lag_p95_seconds
WITH counts AS (
    -- TAI runs ahead of UTC by the leap seconds, which end_utc takes out.
    SELECT flow_id, lag_ms, count(*) AS segments, max(registered) AS last_registered
    FROM (
        SELECT flow_id, registered,
            CAST(floor((round(date_part('epoch', CAST(registered AS TIMESTAMP)) * 1e6)
                - round(date_part('epoch', end_utc) * 1e6)) / 1e3) AS BIGINT) AS lag_ms
        FROM flow_segments
        WHERE ($flow_id IS NULL OR flow_id = $flow_id)
            AND ($source_id IS NULL OR flow_id IN (SELECT id FROM flows WHERE source_id = $source_id))
            AND end_seconds >= utc_to_tai_seconds($now) - $days * 86400 - $max_lag_seconds
            AND start_seconds < utc_to_tai_seconds($now) + $max_lag_seconds + 1
            AND registered >= $now - CAST(concat(CAST($days AS VARCHAR), ' days') AS INTERVAL)
            AND registered <= $now
            AND (object_flow IS NULL OR object_flow = flow_id)
    ) lags
    WHERE lag_ms BETWEEN -1000 * $max_lag_seconds AND 1000 * $max_lag_seconds
    GROUP BY flow_id, lag_ms
), ranked AS (
    SELECT flow_id, lag_ms, last_registered,
        sum(segments) OVER (PARTITION BY flow_id ORDER BY lag_ms
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS reached,
        sum(segments) OVER (PARTITION BY flow_id) AS total
    FROM counts
), lags AS (
    SELECT flow_id,
        CAST(max(total) AS BIGINT) AS segments,
        CAST(min(lag_ms) FILTER (WHERE reached * 100 >= total * 50) AS DOUBLE) / 1e3 AS lag_p50_seconds,
        CAST(min(lag_ms) FILTER (WHERE reached * 100 >= total * 95) AS DOUBLE) / 1e3 AS lag_p95_seconds,
        CAST(min(lag_ms) AS DOUBLE) / 1e3 AS lag_min_seconds,
        CAST(max(lag_ms) AS DOUBLE) / 1e3 AS lag_max_seconds,
        max(last_registered) AS last_registered
    FROM ranked
    GROUP BY flow_id
)
SELECT l.flow_id, f.label AS flow_label, f.source_id, l.segments, l.lag_p50_seconds, l.lag_p95_seconds,
    l.lag_min_seconds, l.lag_max_seconds, l.last_registered
FROM lags l
LEFT JOIN flows f ON f.id = l.flow_id
ORDER BY l.lag_p95_seconds DESC, l.flow_id
LIMIT $limit
