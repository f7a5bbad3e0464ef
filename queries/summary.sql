-- Question: How much of everything is there?
-- Why: Overview; an endpoint that earlier clients know.
-- Shape: object
-- Column: counts.total_sources integer. Sources.
-- Column: counts.total_flows integer. Flows.
-- Column: counts.total_segments integer. Flow Segments.
-- Column: counts.total_objects integer. Objects that are registered, init Objects too.
-- Column: counts.flows_per_source_avg number. Flows by Sources; 0 without any.
-- Column: counts.segments_per_flow_avg number. Segments by Flows; 0 without any.
-- Column: storage.total_size_bytes integer. Bytes of the Objects, each counted once, as far as their size is known.
-- Column: storage.total_size_mb number. The same in 10^6 bytes.
-- Column: storage.total_size_gb number. The same in 10^9 bytes.
-- Column: storage.average_size_bytes number. Mean of the Objects of known size; 0 without any.
-- Column: storage.min_size_bytes integer. Bytes of the smallest; 0 without any.
-- Column: storage.max_size_bytes integer. Bytes of the largest; 0 without any.
-- Column: storage.object_count_with_size integer. Objects of known size.
-- Column: formats.video_flows integer. Flows of video.
-- Column: formats.audio_flows integer. Flows of audio.
-- Column: formats.image_flows integer. Flows of images.
-- Column: formats.data_flows integer. Flows of data.
-- Column: formats.multi_flows integer. Flows that collect others.
-- Column: formats.total_flows integer. Flows.
-- Column: time.earliest_source_created time. When the oldest Source was made; null without any, like the others.
-- Column: time.latest_source_created time. When the newest Source was made.
-- Column: time.earliest_flow_created time. When the oldest Flow was made.
-- Column: time.latest_flow_created time. When the newest Flow was made.
-- Column: time.earliest_segment_created time. When the oldest segment was registered, as far as that is known.
-- Column: time.latest_segment_created time. When the newest segment was registered.
-- Column: time.earliest_object_created time. When the oldest Object came.
-- Column: time.latest_object_created time. When the newest Object came.
-- Chart: none
WITH source_total AS (
    SELECT count(*) AS sources, min(created) AS earliest, max(created) AS latest FROM sources
), flow_total AS (
    SELECT count(*) AS flows,
        count(*) FILTER (WHERE format = 'urn:x-nmos:format:video') AS video,
        count(*) FILTER (WHERE format = 'urn:x-nmos:format:audio') AS audio,
        count(*) FILTER (WHERE format = 'urn:x-tam:format:image') AS image,
        count(*) FILTER (WHERE format = 'urn:x-nmos:format:data') AS data,
        count(*) FILTER (WHERE format = 'urn:x-nmos:format:multi') AS multi,
        min(created) AS earliest, max(created) AS latest
    FROM flows
), segment_total AS (
    SELECT count(*) AS segments, min(registered) AS earliest, max(registered) AS latest FROM flow_segments
), object_total AS (
    SELECT count(*) AS objects, count(size_bytes) AS sized,
        CAST(COALESCE(sum(size_bytes), 0) AS BIGINT) AS bytes,
        COALESCE(min(size_bytes), 0) AS smallest,
        COALESCE(max(size_bytes), 0) AS largest,
        min(created) AS earliest, max(created) AS latest
    FROM objects
    WHERE kind IS NOT NULL
)
SELECT s.sources AS "counts.total_sources",
    f.flows AS "counts.total_flows",
    g.segments AS "counts.total_segments",
    o.objects AS "counts.total_objects",
    COALESCE(CAST(f.flows AS DOUBLE) / NULLIF(CAST(s.sources AS DOUBLE), 0e0), 0e0) AS "counts.flows_per_source_avg",
    COALESCE(CAST(g.segments AS DOUBLE) / NULLIF(CAST(f.flows AS DOUBLE), 0e0), 0e0) AS "counts.segments_per_flow_avg",
    o.bytes AS "storage.total_size_bytes",
    CAST(o.bytes AS DOUBLE) / 1e6 AS "storage.total_size_mb",
    CAST(o.bytes AS DOUBLE) / 1e9 AS "storage.total_size_gb",
    COALESCE(CAST(o.bytes AS DOUBLE) / NULLIF(CAST(o.sized AS DOUBLE), 0e0), 0e0) AS "storage.average_size_bytes",
    o.smallest AS "storage.min_size_bytes",
    o.largest AS "storage.max_size_bytes",
    o.sized AS "storage.object_count_with_size",
    f.video AS "formats.video_flows",
    f.audio AS "formats.audio_flows",
    f.image AS "formats.image_flows",
    f.data AS "formats.data_flows",
    f.multi AS "formats.multi_flows",
    f.flows AS "formats.total_flows",
    s.earliest AS "time.earliest_source_created",
    s.latest AS "time.latest_source_created",
    f.earliest AS "time.earliest_flow_created",
    f.latest AS "time.latest_flow_created",
    g.earliest AS "time.earliest_segment_created",
    g.latest AS "time.latest_segment_created",
    o.earliest AS "time.earliest_object_created",
    o.latest AS "time.latest_object_created"
FROM source_total s
CROSS JOIN flow_total f
CROSS JOIN segment_total g
CROSS JOIN object_total o
ORDER BY "counts.total_sources"
