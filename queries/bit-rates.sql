-- Question: Which Flows have other bit rates than they say?
-- Why: A wrong encoder set-up.
-- Shape: table
-- Parameter: flow_id uuid = null. Only this Flow.
-- Parameter: source_id uuid = null. Only Flows of this Source.
-- Parameter: tolerance_share number = 0.1. Only Flows whose real bit rate differs from avg_bit_rate by more than this share of it, or of which an Object is above max_bit_rate by more; -1 shows all.
-- Parameter: limit integer = 1000. At most this many rows, the largest difference first.
-- Column: flow_id text. UUID of the Flow.
-- Column: flow_label text. Label of the Flow.
-- Column: codec text. Media type of the encoding.
-- Column: objects integer. Media Objects that the Flow brought and whose size and length are known.
-- Column: bytes integer. Bytes of those.
-- Column: seconds number. Length of those in seconds.
-- Column: real_bit_rate number. Bytes by length, in 1000 bit/s.
-- Column: avg_bit_rate integer. What the Flow says, in 1000 bit/s.
-- Column: peak_bit_rate number. Highest bit rate of an Object, in 1000 bit/s.
-- Column: max_bit_rate integer. What the Flow says, in 1000 bit/s.
-- Column: avg_difference_share number. Real by avg_bit_rate, less 1; null where the Flow says nothing.
-- Column: max_difference_share number. Peak by max_bit_rate, less 1; null where the Flow says nothing.
-- Chart: bars x=flow_label y=avg_difference_share
WITH measured AS (
    SELECT first_flow, count(*) AS objects, sum(size_bytes) AS bytes, sum(long_s) AS long_s, sum(long_ns) AS long_ns,
        max(CAST(size_bytes AS DOUBLE) * 8e0 / 1e3 / (CAST(long_s AS DOUBLE) + CAST(long_ns AS DOUBLE) / 1e9)) AS peak
    FROM (
        SELECT first_flow, size_bytes, end_seconds - start_seconds AS long_s,
            end_nanoseconds - start_nanoseconds AS long_ns
        FROM objects
        WHERE kind = 'media'
            AND size_bytes IS NOT NULL
            AND ($flow_id IS NULL OR first_flow = $flow_id)
            AND ($source_id IS NULL OR first_flow IN (SELECT id FROM flows WHERE source_id = $source_id))
    ) o
    WHERE long_s > 0 OR (long_s = 0 AND long_ns > 0) OR (long_s = -1 AND long_ns > 1000000000)
    GROUP BY first_flow
), rated AS (
    SELECT f.id, f.label, f.codec, m.objects, CAST(m.bytes AS BIGINT) AS bytes, m.seconds,
        CAST(m.bytes AS DOUBLE) * 8e0 / 1e3 / m.seconds AS real_rate, f.avg_bit_rate, m.peak, f.max_bit_rate
    FROM (
        SELECT first_flow, objects, bytes, peak,
            CAST(long_s AS DOUBLE) + CAST(long_ns AS DOUBLE) / 1e9 AS seconds
        FROM measured
    ) m
    JOIN flows f ON f.id = m.first_flow
), compared AS (
    SELECT *,
        real_rate / NULLIF(CAST(avg_bit_rate AS DOUBLE), 0e0) - 1e0 AS avg_difference,
        peak / NULLIF(CAST(max_bit_rate AS DOUBLE), 0e0) - 1e0 AS max_difference
    FROM rated
)
SELECT id AS flow_id, label AS flow_label, codec, objects, bytes, seconds, real_rate AS real_bit_rate, avg_bit_rate,
    peak AS peak_bit_rate, max_bit_rate, avg_difference AS avg_difference_share, max_difference AS max_difference_share
FROM compared
WHERE $tolerance_share < 0 OR abs(avg_difference) > $tolerance_share OR max_difference > $tolerance_share
ORDER BY GREATEST(COALESCE(abs(avg_difference), 0e0), COALESCE(max_difference, 0e0)) DESC, id
LIMIT $limit
