-- View: flow_segments
-- One row a Flow Segment: all stored columns, and its times in the forms that people and tools like.
-- Column: start_s number. Start, in seconds; rounded to a float.
-- Column: end_s number. End, in seconds; rounded to a float.
-- Column: duration_s number. End minus start, in seconds; rounded to a float.
-- Column: duration_ns decimal. End minus start, in nanoseconds; exact.
-- Column: timerange text. Timerange as TAMS writes it; exact.
-- Column: start_utc time. Start as a time of day, if the timeline is TAI; null where it is no year from 1972 to 9999.
-- Column: end_utc time. End, likewise.
SELECT s.*,
    CAST(s.start_seconds AS DOUBLE) + CAST(s.start_nanoseconds AS DOUBLE) / 1e9 AS start_s,
    CAST(s.end_seconds AS DOUBLE) + CAST(s.end_nanoseconds AS DOUBLE) / 1e9 AS end_s,
    CAST(s.end_seconds - s.start_seconds AS DOUBLE)
        + CAST(s.end_nanoseconds - s.start_nanoseconds AS DOUBLE) / 1e9 AS duration_s,
    CAST(CAST(s.end_seconds - s.start_seconds AS DECIMAL(28, 0)) * CAST(1000000000 AS DECIMAL(10, 0))
        + CAST(s.end_nanoseconds - s.start_nanoseconds AS DECIMAL(10, 0)) AS DECIMAL(38, 0)) AS duration_ns,
    timerange_text(s.start_seconds, s.start_nanoseconds, s.start_inclusive,
        s.end_seconds, s.end_nanoseconds, s.end_inclusive) AS timerange,
    tai_to_utc(s.start_seconds, s.start_nanoseconds) AS start_utc,
    tai_to_utc(s.end_seconds, s.end_nanoseconds) AS end_utc
FROM raw.flow_segments s
