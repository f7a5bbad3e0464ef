-- Question: Which hours of which Flows are recorded, and how much of each?
-- Why: Night check of channels that run all day.
-- Shape: table
-- Parameter: flow_id uuid = null. Only this Flow.
-- Parameter: source_id uuid = null. Only Flows of this Source.
-- Parameter: start_time seconds = null. First bucket's start on the timeline; without it, days before the end.
-- Parameter: end_time seconds = null. End of the last bucket on the timeline; without it, days after start_time, or now.
-- Parameter: days integer = 1. How long, where start_time or end_time is left out.
-- Parameter: bucket_seconds integer = 3600. Length of a bucket in seconds; made longer where there would be more than 10,000.
-- Parameter: now time = now. The end where neither start_time nor end_time is given.
-- Parameter: limit integer = 10000. At most this many rows.
-- Column: flow_id text. UUID of a Flow that is recorded in some bucket, or has the status ingesting and a container.
-- Column: flow_label text. Label of the Flow.
-- Column: bucket_seconds integer. Start of the bucket on the timeline, in seconds.
-- Column: bucket_utc time. The same as a time of day, if the timeline is TAI; null before 1972.
-- Column: covered_seconds number. Seconds of the bucket that segments cover.
-- Column: covered_share number. The same as a share of the bucket, 0 to 1.
-- Chart: heatmap x=bucket_utc y=flow_label value=covered_share
WITH asked AS (
    SELECT COALESCE($start_time, COALESCE($end_time, utc_to_tai_seconds($now)) - $days * 86400) AS from_s,
        COALESCE($end_time, COALESCE($start_time + $days * 86400, utc_to_tai_seconds($now))) AS to_s,
        GREATEST($bucket_seconds, 1) AS size_s
), spans AS (
    SELECT from_s, to_s,
        GREATEST(size_s, CAST(ceil(CAST(to_s - from_s AS DOUBLE) / 10000e0) AS BIGINT)) AS size_s
    FROM asked
), buckets AS (
    SELECT from_s + number * size_s AS bucket_s, number, size_s
    FROM (
        SELECT from_s, size_s,
            unnest(generate_series(CAST(0 AS BIGINT),
                CAST(ceil(CAST(to_s - from_s AS DOUBLE) / CAST(size_s AS DOUBLE)) AS BIGINT) - 1)) AS number
        FROM spans
    ) n
), stretches AS (
    SELECT c.flow_id, s.from_s, s.size_s,
        GREATEST(c.start_seconds, s.from_s) AS start_s,
        CASE WHEN c.start_seconds < s.from_s THEN 0 ELSE c.start_nanoseconds END AS start_ns,
        LEAST(c.end_seconds, s.to_s) AS end_s,
        CASE WHEN c.end_seconds >= s.to_s THEN 0 ELSE c.end_nanoseconds END AS end_ns
    FROM flow_coverage c
    CROSS JOIN spans s
    WHERE ($flow_id IS NULL OR c.flow_id = $flow_id)
        AND ($source_id IS NULL OR c.flow_id IN (SELECT id FROM flows WHERE source_id = $source_id))
        AND c.start_seconds < s.to_s
        AND (c.end_seconds > s.from_s OR (c.end_seconds = s.from_s AND c.end_nanoseconds > 0))
), pieces AS (
    SELECT flow_id, from_s, size_s, start_s, start_ns, end_s, end_ns,
        unnest(generate_series(
            CAST(floor(CAST(start_s - from_s AS DOUBLE) / CAST(size_s AS DOUBLE)) AS BIGINT),
            CAST(floor(CAST(end_s - from_s AS DOUBLE) / CAST(size_s AS DOUBLE)) AS BIGINT))) AS number
    FROM stretches
), cut AS (
    SELECT flow_id, number,
        CASE WHEN start_s < from_s + number * size_s THEN from_s + number * size_s ELSE start_s END AS start_s,
        CASE WHEN start_s < from_s + number * size_s THEN 0 ELSE start_ns END AS start_ns,
        CASE WHEN end_s >= from_s + (number + 1) * size_s THEN from_s + (number + 1) * size_s ELSE end_s END AS end_s,
        CASE WHEN end_s >= from_s + (number + 1) * size_s THEN 0 ELSE end_ns END AS end_ns
    FROM pieces
), covered AS (
    SELECT flow_id, number,
        CAST(sum(end_s - start_s) AS DOUBLE) + CAST(sum(end_ns - start_ns) AS DOUBLE) / 1e9 AS covered_seconds
    FROM cut
    GROUP BY flow_id, number
), shown AS (
    SELECT id, label
    FROM flows
    WHERE ($flow_id IS NULL OR id = $flow_id)
        AND ($source_id IS NULL OR source_id = $source_id)
        AND ((status = 'ingesting' AND container IS NOT NULL) OR id IN (SELECT flow_id FROM stretches))
)
SELECT f.id AS flow_id, f.label AS flow_label, b.bucket_s AS bucket_seconds, tai_to_utc(b.bucket_s, 0) AS bucket_utc,
    COALESCE(c.covered_seconds, 0e0) AS covered_seconds,
    COALESCE(c.covered_seconds, 0e0) / CAST(b.size_s AS DOUBLE) AS covered_share
FROM shown f
CROSS JOIN buckets b
LEFT JOIN covered c ON c.flow_id = f.id AND c.number = b.number
ORDER BY f.label NULLS LAST, f.id, b.bucket_s
LIMIT $limit
