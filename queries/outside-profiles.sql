-- Question: Which Flows are encoded in no house format: outside of every Profile?
-- Why: Failed play-out; cost of transcoding.
-- Shape: table
-- Parameter: source_id uuid = null. Only Flows of this Source.
-- Parameter: format text = null. Only Flows of this content format, as a URN.
-- Parameter: limit integer = 1000. At most this many rows.
-- Column: flow_id text. UUID of the Flow; Flows of the format multi have no encoding and are left out.
-- Column: flow_label text. Label of the Flow.
-- Column: source_id text. UUID of its Source.
-- Column: format text. URN of the content format.
-- Column: codec text. Media type of the encoding.
-- Column: container text. Media type of the wrapper.
-- Column: resolution text. Width and height in pixels.
-- Column: differs text. What the closest Profile differs in: format (there is none of this format), codec, container or parameters.
-- Column: closest_profile text. Label, or else UUID, of a Profile that agrees in what comes before that.
-- Chart: bars x=differs y=count
WITH asked AS (
    SELECT id, label, source_id, format, codec, container, resolution, essence_parameters
    FROM flows
    WHERE format <> 'urn:x-nmos:format:multi'
        AND profile_id IS NULL
        AND ($source_id IS NULL OR source_id = $source_id)
        AND ($format IS NULL OR format = $format)
), compared AS (
    SELECT f.id,
        max(CASE
            WHEN p.codec IS DISTINCT FROM f.codec THEN 1
            WHEN p.container IS DISTINCT FROM f.container THEN 2
            WHEN p.essence_parameters IS DISTINCT FROM f.essence_parameters THEN 3
            ELSE 4 END) AS closeness,
        min(COALESCE(p.label, p.id)) AS any_profile,
        min(CASE WHEN p.codec IS NOT DISTINCT FROM f.codec THEN COALESCE(p.label, p.id) END) AS same_codec,
        min(CASE WHEN (p.codec IS NOT DISTINCT FROM f.codec) AND (p.container IS NOT DISTINCT FROM f.container)
            THEN COALESCE(p.label, p.id) END) AS same_container
    FROM asked f
    JOIN profiles p ON p.format = f.format
    GROUP BY f.id
)
SELECT f.id AS flow_id, f.label AS flow_label, f.source_id, f.format, f.codec, f.container, f.resolution,
    CASE COALESCE(c.closeness, 0) WHEN 0 THEN 'format' WHEN 1 THEN 'codec' WHEN 2 THEN 'container' ELSE 'parameters' END
        AS differs,
    COALESCE(c.same_container, c.same_codec, c.any_profile) AS closest_profile
FROM asked f
LEFT JOIN compared c ON c.id = f.id
WHERE COALESCE(c.closeness, 0) < 4
ORDER BY f.format, f.codec NULLS LAST, f.container NULLS LAST, f.id
LIMIT $limit
