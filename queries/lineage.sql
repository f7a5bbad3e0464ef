-- Question: How many steps is each Flow away from a camera, and how many Flows are made from it?
-- Why: Credit and audit.
-- Shape: table
-- Engine: duckdb
-- Parameter: flow_id uuid = null. Only this Flow.
-- Parameter: source_id uuid = null. Only Flows of this Source.
-- Parameter: limit integer = 1000. At most this many rows, the Flows that most are made from first.
-- Column: flow_id text. UUID of the Flow.
-- Column: flow_label text. Label of the Flow.
-- Column: source_id text. UUID of its Source.
-- Column: format text. URN of the content format.
-- Column: depth integer. Steps from a Flow that is made from no other, by the longest way, 20 at most; null in a circle.
-- Column: made_from integer. Flows that it is made from directly: it uses their Objects, collects them, or names them in the tag originating_id or proxy_of_flow.
-- Column: made_into integer. Flows that are made from it directly.
-- Chart: bars x=flow_label y=made_into
WITH RECURSIVE edges AS (
    SELECT origin, product
    FROM (
        SELECT object_flow AS origin, flow_id AS product FROM flow_segments WHERE object_flow IS NOT NULL
        UNION ALL
        SELECT collected['id'], id FROM (SELECT id, unnest(flow_collection) AS collected FROM flows) c
        UNION ALL
        SELECT unnest(tags['originating_id']), id FROM flows
        UNION ALL
        SELECT unnest(tags['proxy_of_flow']), id FROM flows
    ) e
    WHERE origin <> product
    GROUP BY origin, product
), depths AS (
    SELECT f.id AS flow_id, CAST(0 AS BIGINT) AS depth
    FROM flows f
    LEFT JOIN (SELECT DISTINCT product FROM edges) e ON e.product = f.id
    WHERE e.product IS NULL
    UNION ALL
    SELECT DISTINCT e.product, d.depth + 1
    FROM depths d
    JOIN edges e ON e.origin = d.flow_id
    WHERE d.depth < 20
), deepest AS (
    SELECT flow_id, max(depth) AS depth FROM depths GROUP BY flow_id
), counted AS (
    SELECT flow_id, CAST(sum(made_from) AS BIGINT) AS made_from, CAST(sum(made_into) AS BIGINT) AS made_into
    FROM (
        SELECT product AS flow_id, 1 AS made_from, 0 AS made_into FROM edges
        UNION ALL
        SELECT origin, 0, 1 FROM edges
    ) c
    GROUP BY flow_id
)
SELECT f.id AS flow_id, f.label AS flow_label, f.source_id, f.format, d.depth,
    COALESCE(c.made_from, 0) AS made_from, COALESCE(c.made_into, 0) AS made_into
FROM flows f
LEFT JOIN deepest d ON d.flow_id = f.id
LEFT JOIN counted c ON c.flow_id = f.id
WHERE ($flow_id IS NULL OR f.id = $flow_id)
    AND ($source_id IS NULL OR f.source_id = $source_id)
    AND ($flow_id IS NOT NULL OR c.flow_id IS NOT NULL)
ORDER BY made_into DESC, d.depth DESC NULLS LAST, made_from DESC, f.id
LIMIT $limit
