-- Question: How many Flows are there, of which formats, and how many bytes do they use?
-- Why: Overview; an endpoint that earlier clients know.
-- Shape: object
-- Parameter: start_time seconds = null. Only Flows with a segment that ends after this time on the timeline, and only such segments.
-- Parameter: end_time seconds = null. Only Flows with a segment that starts before this time, and only such segments.
-- Parameter: source_id uuid = null. Only Flows of this Source.
-- Parameter: format text = null. Only Flows of this content format, as a URN.
-- Column: total_flows integer. Flows.
-- Column: format_distribution map. Flows by URN of their format.
-- Column: resolution_distribution map. Flows by width and height in pixels, for example 1920x1080; those without a picture are left out.
-- Column: codec_distribution map. Flows by media type of the encoding; those without one are left out.
-- Column: estimated_storage_bytes integer. Bytes of the media Objects that the Flows use, each counted once, as far as their size is known.
-- Column: average_flow_size number. The same by the number of Flows, in bytes; 0 without any.
-- Column: time_range.start integer. start_time as given, in seconds on the timeline.
-- Column: time_range.end integer. end_time as given, likewise.
-- Chart: none
WITH used AS (
    SELECT flow_id, object_id, COALESCE(object_flow, flow_id) AS lender
    FROM flow_segments
    WHERE ($start_time IS NULL OR end_seconds >= $start_time)
        AND ($start_time IS NULL OR end_seconds > $start_time OR end_nanoseconds > 0 OR end_inclusive)
        AND ($end_time IS NULL OR start_seconds < $end_time)
        AND ($source_id IS NULL OR flow_id IN (SELECT id FROM flows WHERE source_id = $source_id))
        AND ($format IS NULL OR flow_id IN (SELECT id FROM flows WHERE format = $format))
), asked AS (
    SELECT id, format, codec, resolution
    FROM flows
    WHERE ($source_id IS NULL OR source_id = $source_id)
        AND ($format IS NULL OR format = $format)
        AND (($start_time IS NULL AND $end_time IS NULL) OR id IN (SELECT flow_id FROM used))
), total AS (
    SELECT count(*) AS flows FROM asked
), formats AS (
    SELECT map(array_agg(format ORDER BY format), array_agg(flows ORDER BY format)) AS flows
    FROM (SELECT format, count(*) AS flows FROM asked GROUP BY format) a
), resolutions AS (
    SELECT map(array_agg(resolution ORDER BY resolution), array_agg(flows ORDER BY resolution)) AS flows
    FROM (SELECT resolution, count(*) AS flows FROM asked WHERE resolution IS NOT NULL GROUP BY resolution) a
), codecs AS (
    SELECT map(array_agg(codec ORDER BY codec), array_agg(flows ORDER BY codec)) AS flows
    FROM (SELECT codec, count(*) AS flows FROM asked WHERE codec IS NOT NULL GROUP BY codec) a
), lenders AS (
    -- Flows that brought the Objects: those of others need not be looked at.
    SELECT DISTINCT lender AS id
    FROM used
    WHERE $start_time IS NOT NULL OR $end_time IS NOT NULL OR $source_id IS NOT NULL
), sizes AS (
    SELECT id, size_bytes FROM objects WHERE $start_time IS NULL AND $end_time IS NULL AND $source_id IS NULL
    UNION ALL
    SELECT o.id, o.size_bytes FROM lenders l JOIN objects o ON o.first_flow = l.id
), stored AS (
    SELECT CAST(COALESCE(sum(size_bytes), 0) AS BIGINT) AS bytes
    FROM sizes
    WHERE id IN (SELECT object_id FROM used)
)
SELECT t.flows AS total_flows,
    COALESCE(f.flows, MAP {}) AS format_distribution,
    COALESCE(r.flows, MAP {}) AS resolution_distribution,
    COALESCE(c.flows, MAP {}) AS codec_distribution,
    s.bytes AS estimated_storage_bytes,
    COALESCE(CAST(s.bytes AS DOUBLE) / NULLIF(CAST(t.flows AS DOUBLE), 0e0), 0e0) AS average_flow_size,
    CAST($start_time AS BIGINT) AS "time_range.start",
    CAST($end_time AS BIGINT) AS "time_range.end"
FROM total t
CROSS JOIN formats f
CROSS JOIN resolutions r
CROSS JOIN codecs c
CROSS JOIN stored s
ORDER BY total_flows
