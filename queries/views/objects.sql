-- View: objects
-- One row an Object: all stored columns, its timerange as text, its length and how many instances it has.
-- Column: timerange text. Timerange as TAMS writes it; null for init Objects and for storage that is not registered.
-- Column: duration_s number. End minus start, in seconds; rounded to a float.
-- Column: instance_count integer. Places where its bytes are.
SELECT o.*,
    CASE WHEN o.start_seconds IS NOT NULL AND o.end_seconds IS NOT NULL THEN
        timerange_text(o.start_seconds, o.start_nanoseconds, o.start_inclusive,
            o.end_seconds, o.end_nanoseconds, o.end_inclusive) END AS timerange,
    CAST(o.end_seconds - o.start_seconds AS DOUBLE)
        + CAST(o.end_nanoseconds - o.start_nanoseconds AS DOUBLE) / 1e9 AS duration_s,
    CAST(array_length(o.instances) AS BIGINT) AS instance_count
FROM raw.objects o
