-- View: object_instances
-- One row a place where the bytes of an Object are.
-- Column: object_id text. Id of the Object.
-- Column: storage_id text. UUID of the backend; null for a URL that somebody else keeps.
-- Column: key text. Key on that backend; null where it follows from the Object's id.
-- Column: url text. URL that somebody else keeps; null for instances of this server.
-- Column: label text. Label of that URL.
-- Column: controlled boolean. Whether this server keeps the bytes.
-- Column: size_bytes integer. Bytes of the Object; null where unknown.
-- Column: kind text. media or init; null while nothing has referred to the Object.
-- Column: first_flow text. UUID of the Flow that the Object was allocated for, or that brought it.
-- Column: created time. When the Object's storage was handed out or the Object first registered.
SELECT t.object_id,
    t.instance['storage_id'] AS storage_id,
    t.instance['key'] AS key,
    t.instance['url'] AS url,
    t.instance['label'] AS label,
    t.instance['storage_id'] IS NOT NULL AS controlled,
    t.size_bytes,
    t.kind,
    t.first_flow,
    t.created
FROM (
    SELECT o.id AS object_id, o.size_bytes, o.kind, o.first_flow, o.created, unnest(o.instances) AS instance
    FROM raw.objects o
) t
