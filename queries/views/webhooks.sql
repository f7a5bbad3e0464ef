-- View: webhooks
-- One row a Webhook: the stored columns without its secret.
SELECT w.id, w.url, w.api_key_name, w.events, w.flow_ids, w.source_ids, w.flow_collected_by_ids,
    w.source_collected_by_ids, w.accept_get_urls, w.accept_storage_ids, w.presigned, w.verbose_storage,
    w.include_object_timerange, w.tags, w.tag_lists, w.status, w.error_type, w.error_summary, w.error_time,
    w.created, w.delivered_seq, w.delivered_index, w.api_version
FROM raw.webhooks w
