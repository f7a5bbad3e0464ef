-- Question: Which webhooks have failed or are switched off, and which deletions are not done?
-- Why: Automation that stopped.
-- Shape: table
-- Parameter: all boolean = false. Whether webhooks that work and deletions that are done are shown, too.
-- Parameter: now time = now. The moment that ages are counted to.
-- Parameter: limit integer = 1000. At most this many rows, webhooks first, the oldest trouble first.
-- Column: kind text. webhook or delete_request.
-- Column: id text. UUID of it.
-- Column: target text. URL of the receiver, or UUID of the Flow.
-- Column: status text. created, started, disabled, error or done.
-- Column: trouble boolean. Whether a webhook has failed or is off, or a deletion is not done.
-- Column: since time. When it failed, or else was made; when the deletion was asked for.
-- Column: age_seconds integer. Whole seconds since then.
-- Column: last_progress time. When the deletion last got on; null for webhooks.
-- Column: error_type text. Why deliveries were given up.
-- Column: error_summary text. The same as a sentence.
-- Column: behind integer. Log entries that the webhook that got furthest is ahead of this one; null for deletions.
-- Chart: none
WITH furthest AS (
    SELECT max(delivered_seq) AS seq FROM webhooks
), both_kinds AS (
    SELECT 'webhook' AS kind, w.id, w.url AS target, w.status, w.status IN ('error', 'disabled') AS trouble,
        COALESCE(w.error_time, w.created) AS since, CAST(NULL AS TIMESTAMP) AS last_progress, w.error_type,
        w.error_summary, m.seq - w.delivered_seq AS behind
    FROM webhooks w
    CROSS JOIN furthest m
    UNION ALL
    SELECT 'delete_request' AS kind, id, flow_id, status, status <> 'done', created, updated, NULL, NULL, NULL
    FROM flow_delete_requests
)
SELECT kind, id, target, status, trouble, since,
    CAST(floor(date_part('epoch', $now) - date_part('epoch', CAST(since AS TIMESTAMP))) AS BIGINT) AS age_seconds,
    last_progress, error_type, error_summary, behind
FROM both_kinds
WHERE trouble OR $all
ORDER BY kind DESC, trouble DESC, since, id
LIMIT $limit
