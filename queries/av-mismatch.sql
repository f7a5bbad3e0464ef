-- Question: Which video and audio Flows that belong together do not cover the same time?
-- Why: Lip sync; silent clips.
-- Shape: table
-- Parameter: flow_id uuid = null. Only pairs of this collection, or with this video or audio Flow.
-- Parameter: source_id uuid = null. Only pairs of collections of this Source.
-- Parameter: start_time seconds = null. Only time after this on the timeline.
-- Parameter: end_time seconds = null. Only time before this on the timeline.
-- Parameter: tolerance_seconds number = 0.1. Differences of at most this many seconds do not count: frames of video and sound seldom end together.
-- Parameter: limit integer = 1000. At most this many rows, the largest difference first.
-- Column: collection_id text. UUID of the Flow that collects both.
-- Column: collection_label text. Label of that Flow.
-- Column: video_flow_id text. UUID of the video Flow.
-- Column: audio_flow_id text. UUID of the audio Flow.
-- Column: video_only_seconds number. Time with a picture and without sound, in seconds.
-- Column: audio_only_seconds number. Time with sound and without a picture, in seconds.
-- Column: differences integer. Stretches of time with only one of them.
-- Column: first_seconds integer. Start of the first of them on the timeline, in whole seconds, rounded down.
-- Column: longest_seconds number. Length of the longest of them in seconds.
-- Chart: bars x=collection_label y=longest_seconds
WITH members AS (
    SELECT DISTINCT c.collection_id, m.id AS member_id, split_part(m.format, ':', 4) AS kind
    FROM (
        SELECT collection_id, collected['id'] AS id
        FROM (
            SELECT id AS collection_id, unnest(flow_collection) AS collected
            FROM flows
            WHERE ($source_id IS NULL OR source_id = $source_id)
        ) u
    ) c
    JOIN flows m ON m.id = c.id
    WHERE m.format IN ('urn:x-nmos:format:video', 'urn:x-nmos:format:audio')
), pairs AS (
    SELECT v.collection_id, v.member_id AS video_id, a.member_id AS audio_id
    FROM members v
    JOIN members a ON a.collection_id = v.collection_id
    WHERE v.kind = 'video' AND a.kind = 'audio'
        AND ($flow_id IS NULL OR v.collection_id = $flow_id OR v.member_id = $flow_id OR a.member_id = $flow_id)
), stretches AS (
    SELECT flow_id,
        CASE WHEN start_seconds < $start_time THEN $start_time ELSE start_seconds END AS start_s,
        CASE WHEN start_seconds < $start_time THEN 0 ELSE start_nanoseconds END AS start_ns,
        CASE WHEN end_seconds >= $end_time THEN $end_time ELSE end_seconds END AS end_s,
        CASE WHEN end_seconds >= $end_time THEN 0 ELSE end_nanoseconds END AS end_ns
    FROM flow_coverage
    WHERE ($start_time IS NULL OR end_seconds > $start_time OR (end_seconds = $start_time AND end_nanoseconds > 0))
        AND ($end_time IS NULL OR start_seconds < $end_time)
), edges AS (
    -- Where one of the two begins (+1) or ends (-1).
    SELECT m.collection_id, m.video_id, m.audio_id, m.video * e.step AS video, m.audio * e.step AS audio,
        CASE WHEN e.step = 1 THEN s.start_s ELSE s.end_s END AS s,
        CASE WHEN e.step = 1 THEN s.start_ns ELSE s.end_ns END AS ns
    FROM (
        SELECT collection_id, video_id, audio_id, video_id AS flow_id, 1 AS video, 0 AS audio FROM pairs
        UNION ALL
        SELECT collection_id, video_id, audio_id, audio_id AS flow_id, 0 AS video, 1 AS audio FROM pairs
    ) m
    JOIN stretches s ON s.flow_id = m.flow_id
    CROSS JOIN (VALUES (1), (-1)) e(step)
), steps AS (
    -- Both at one moment are one step.
    SELECT collection_id, video_id, audio_id, s, ns, sum(video) AS video, sum(audio) AS audio
    FROM edges
    GROUP BY collection_id, video_id, audio_id, s, ns
), states AS (
    SELECT collection_id, video_id, audio_id, s, ns,
        sum(video) OVER w AS video,
        sum(audio) OVER w AS audio,
        lead(s) OVER w AS next_s,
        lead(ns) OVER w AS next_ns
    FROM steps
    WINDOW w AS (PARTITION BY collection_id, video_id, audio_id ORDER BY s, ns
        ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
), differences AS (
    SELECT collection_id, video_id, audio_id, s, video > 0 AS is_video, next_s - s AS long_s, next_ns - ns AS long_ns,
        CAST(next_s - s AS DOUBLE) + CAST(next_ns - ns AS DOUBLE) / 1e9 AS seconds
    FROM states
    WHERE (video > 0) <> (audio > 0) AND next_s IS NOT NULL
)
SELECT d.collection_id, f.label AS collection_label, d.video_id AS video_flow_id, d.audio_id AS audio_flow_id,
    CAST(COALESCE(sum(d.long_s) FILTER (WHERE d.is_video), 0) AS DOUBLE)
        + CAST(COALESCE(sum(d.long_ns) FILTER (WHERE d.is_video), 0) AS DOUBLE) / 1e9 AS video_only_seconds,
    CAST(COALESCE(sum(d.long_s) FILTER (WHERE NOT d.is_video), 0) AS DOUBLE)
        + CAST(COALESCE(sum(d.long_ns) FILTER (WHERE NOT d.is_video), 0) AS DOUBLE) / 1e9 AS audio_only_seconds,
    count(*) AS differences, min(d.s) AS first_seconds, max(d.seconds) AS longest_seconds
FROM differences d
LEFT JOIN flows f ON f.id = d.collection_id
WHERE d.seconds > $tolerance_seconds
GROUP BY d.collection_id, f.label, d.video_id, d.audio_id
ORDER BY longest_seconds DESC, d.collection_id, d.video_id, d.audio_id
LIMIT $limit
