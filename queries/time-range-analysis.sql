-- Question: How long are segments, and how much time do they cover?
-- Why: Overview; an endpoint that earlier clients know.
-- Shape: object
-- Parameter: start_time seconds = null. Only segments that end after this time on the timeline.
-- Parameter: end_time seconds = null. Only segments that start before this time on the timeline.
-- Parameter: flow_id uuid = null. Only this Flow.
-- Parameter: source_id uuid = null. Only Flows of this Source.
-- Column: total_segments integer. Segments.
-- Column: average_duration_seconds number. Mean length of a segment; 0 without any, like the next three.
-- Column: min_duration_seconds number. Length of the shortest.
-- Column: max_duration_seconds number. Length of the longest.
-- Column: total_duration_seconds number. Sum of the lengths.
-- Column: duration_statistics.total_segments integer. Segments.
-- Column: duration_statistics.total_flows integer. Flows that they belong to.
-- Column: duration_statistics.average_duration number. Mean length of a segment in seconds.
-- Column: duration_statistics.min_duration number. Length of the shortest in seconds.
-- Column: duration_statistics.max_duration number. Length of the longest in seconds.
-- Column: duration_statistics.total_duration number. Sum of the lengths in seconds.
-- Column: coverage.flows_covered integer. Flows with segments.
-- Column: coverage.segments_covered integer. Segments.
-- Column: duration_distribution.short integer. Segments below 10 seconds.
-- Column: duration_distribution.medium integer. Others below 60 seconds.
-- Column: duration_distribution.long integer. Longer segments.
-- Column: time_coverage.start_date time. Earliest start as a time of day, of segments from 1972 to 9999, if the timeline is TAI; null without any.
-- Column: time_coverage.end_date time. Latest end, likewise; both in whole seconds, rounded down.
-- Column: time_coverage.total_coverage_hours number. Sum of the lengths in hours.
-- Column: time_range.start integer. start_time as given, in seconds on the timeline.
-- Column: time_range.end integer. end_time as given, likewise.
-- Chart: none
WITH by_flow AS (
    SELECT flow_id, count(*) AS segments, sum(long_s) AS long_s, sum(long_ns) AS long_ns,
        min(CAST(long_s AS DOUBLE) + CAST(long_ns AS DOUBLE) / 1e9) AS shortest,
        max(CAST(long_s AS DOUBLE) + CAST(long_ns AS DOUBLE) / 1e9) AS longest,
        count(*) FILTER (WHERE long_s < 10 OR (long_s = 10 AND long_ns < 0)) AS short,
        count(*) FILTER (WHERE long_s < 60 OR (long_s = 60 AND long_ns < 0)) AS medium,
        -- From 1972 to 9999, in seconds of TAI.
        min(start_seconds) FILTER (WHERE start_seconds >= 63072010 AND start_seconds < 253402300837) AS first_s,
        max(end_seconds) FILTER (WHERE end_seconds >= 63072010 AND end_seconds < 253402300837) AS last_s
    FROM (
        SELECT flow_id, start_seconds, end_seconds, end_seconds - start_seconds AS long_s,
            end_nanoseconds - start_nanoseconds AS long_ns
        FROM flow_segments
        WHERE ($flow_id IS NULL OR flow_id = $flow_id)
            AND ($source_id IS NULL OR flow_id IN (SELECT id FROM flows WHERE source_id = $source_id))
            AND ($start_time IS NULL OR end_seconds >= $start_time)
            AND ($start_time IS NULL OR end_seconds > $start_time OR end_nanoseconds > 0 OR end_inclusive)
            AND ($end_time IS NULL OR start_seconds < $end_time)
    ) s
    GROUP BY flow_id
), total AS (
    SELECT count(*) AS flows,
        CAST(COALESCE(sum(segments), 0) AS BIGINT) AS segments,
        CAST(COALESCE(sum(long_s), 0) AS DOUBLE) + CAST(COALESCE(sum(long_ns), 0) AS DOUBLE) / 1e9 AS seconds,
        COALESCE(min(shortest), 0e0) AS shortest,
        COALESCE(max(longest), 0e0) AS longest,
        CAST(COALESCE(sum(short), 0) AS BIGINT) AS below_10,
        CAST(COALESCE(sum(medium), 0) AS BIGINT) AS below_60,
        min(first_s) AS first_s,
        max(last_s) AS last_s
    FROM by_flow
), averaged AS (
    SELECT *, COALESCE(seconds / NULLIF(CAST(segments AS DOUBLE), 0e0), 0e0) AS average FROM total
)
SELECT segments AS total_segments,
    average AS average_duration_seconds,
    shortest AS min_duration_seconds,
    longest AS max_duration_seconds,
    seconds AS total_duration_seconds,
    segments AS "duration_statistics.total_segments",
    flows AS "duration_statistics.total_flows",
    average AS "duration_statistics.average_duration",
    shortest AS "duration_statistics.min_duration",
    longest AS "duration_statistics.max_duration",
    seconds AS "duration_statistics.total_duration",
    flows AS "coverage.flows_covered",
    segments AS "coverage.segments_covered",
    below_10 AS "duration_distribution.short",
    below_60 - below_10 AS "duration_distribution.medium",
    segments - below_60 AS "duration_distribution.long",
    tai_to_utc(first_s, 0) AS "time_coverage.start_date",
    tai_to_utc(last_s, 0) AS "time_coverage.end_date",
    seconds / 3600e0 AS "time_coverage.total_coverage_hours",
    CAST($start_time AS BIGINT) AS "time_range.start",
    CAST($end_time AS BIGINT) AS "time_range.end"
FROM averaged
ORDER BY total_segments
