-- Question: Which Sources and encodings fill the store?
-- Why: What fills the store.
-- Shape: table
-- Parameter: source_id uuid = null. Only this Source.
-- Parameter: limit integer = 1000. At most this many rows, the most bytes first.
-- Column: source_id text. UUID of the Source; null where the Flow that brought the Objects is gone.
-- Column: source_label text. Label of the Source.
-- Column: format text. URN of the content format.
-- Column: codec text. Media type of the encoding.
-- Column: container text. Media type of the wrapper.
-- Column: resolution text. Width and height in pixels, for example 1920x1080.
-- Column: flows integer. Flows of this kind that brought Objects.
-- Column: objects integer. Objects that they brought, init Objects too.
-- Column: bytes integer. Bytes of those Objects, each counted once however many copies and uses it has.
-- Column: objects_of_unknown_size integer. Objects that bytes does not have.
-- Chart: bars x=source_label y=bytes
WITH brought AS (
    SELECT first_flow, count(*) AS objects, sum(size_bytes) AS bytes, count(*) - count(size_bytes) AS unknown
    FROM objects
    WHERE kind IS NOT NULL
        AND ($source_id IS NULL OR first_flow IN (SELECT id FROM flows WHERE source_id = $source_id))
    GROUP BY first_flow
), kinds AS (
    SELECT f.source_id, f.format, f.codec, f.container, f.resolution,
        count(*) AS flows,
        CAST(sum(b.objects) AS BIGINT) AS objects,
        CAST(COALESCE(sum(b.bytes), 0) AS BIGINT) AS bytes,
        CAST(sum(b.unknown) AS BIGINT) AS objects_of_unknown_size
    FROM brought b
    LEFT JOIN flows f ON f.id = b.first_flow
    GROUP BY f.source_id, f.format, f.codec, f.container, f.resolution
)
SELECT k.source_id, s.label AS source_label, k.format, k.codec, k.container, k.resolution, k.flows, k.objects, k.bytes,
    k.objects_of_unknown_size
FROM kinds k
LEFT JOIN sources s ON s.id = k.source_id
ORDER BY k.bytes DESC, k.source_id NULLS LAST, k.codec NULLS LAST, k.container NULLS LAST, k.resolution NULLS LAST,
    k.format NULLS LAST
LIMIT $limit
