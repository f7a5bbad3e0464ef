//! Columns of `webhooks`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{RowError, tags, times};
use crate::domain::{
    Dialect, EventKind, EventPlace, FlowId, Secret, SourceId, StorageId, Webhook, WebhookError, WebhookId,
    WebhookStatus,
};

#[derive(Debug, Serialize, Deserialize)]
pub struct WebhookRow {
    id: WebhookId,
    url: String,
    api_key_name: Option<String>,
    api_key_value: Option<String>,
    events: Vec<String>,
    flow_ids: Option<Vec<FlowId>>,
    source_ids: Option<Vec<SourceId>>,
    flow_collected_by_ids: Option<Vec<FlowId>>,
    source_collected_by_ids: Option<Vec<SourceId>>,
    accept_get_urls: Option<Vec<String>>,
    accept_storage_ids: Option<Vec<StorageId>>,
    presigned: Option<bool>,
    verbose_storage: Option<bool>,
    include_object_timerange: Option<bool>,
    tags: BTreeMap<String, Vec<String>>,
    tag_lists: Vec<String>,
    status: String,
    error_type: Option<String>,
    error_summary: Option<String>,
    error_time: Option<i64>,
    created: i64,
    delivered_seq: i64,
    delivered_index: i64,
    api_version: Option<String>,
}

impl From<&Webhook> for WebhookRow {
    fn from(webhook: &Webhook) -> Self {
        let (tags, tag_lists) = tags::columns(&webhook.tags);
        let error = webhook.error.as_ref();
        Self {
            id: webhook.id,
            url: webhook.url.clone(),
            api_key_name: webhook.api_key_name.clone(),
            api_key_value: webhook.api_key_value.as_ref().map(|secret| secret.reveal().to_owned()),
            events: webhook.events.iter().map(|kind| kind.word().to_owned()).collect(),
            flow_ids: webhook.flow_ids.clone(),
            source_ids: webhook.source_ids.clone(),
            flow_collected_by_ids: webhook.flow_collected_by_ids.clone(),
            source_collected_by_ids: webhook.source_collected_by_ids.clone(),
            accept_get_urls: webhook.accept_get_urls.clone(),
            accept_storage_ids: webhook.accept_storage_ids.clone(),
            presigned: webhook.presigned,
            verbose_storage: webhook.verbose_storage,
            include_object_timerange: webhook.include_object_timerange,
            tags,
            tag_lists,
            status: webhook.status.word().to_owned(),
            error_type: error.map(|error| error.kind.clone()),
            error_summary: error.map(|error| error.summary.clone()),
            error_time: error.map(|error| times::micros(error.time)),
            created: times::micros(webhook.created),
            delivered_seq: i64::try_from(webhook.delivered.seq).unwrap_or(i64::MAX),
            delivered_index: webhook.delivered.index.into(),
            api_version: Some(webhook.dialect.version().to_owned()),
        }
    }
}

impl TryFrom<WebhookRow> for Webhook {
    type Error = RowError;
    fn try_from(row: WebhookRow) -> Result<Self, RowError> {
        let error = match (row.error_type, row.error_summary, row.error_time) {
            (None, None, None) => None,
            (Some(kind), Some(summary), Some(time)) => Some(WebhookError { kind, summary, time: times::utc(time)? }),
            _ => return Err(RowError("a webhook's error is half there".into())),
        };
        let kind =
            |word: &String| EventKind::from_word(word).ok_or_else(|| RowError(format!("{word:?} is no kind of event")));
        Ok(Self {
            id: row.id,
            url: row.url,
            api_key_name: row.api_key_name,
            api_key_value: row.api_key_value.map(Secret::new),
            events: row.events.iter().map(kind).collect::<Result<_, _>>()?,
            flow_ids: row.flow_ids,
            source_ids: row.source_ids,
            flow_collected_by_ids: row.flow_collected_by_ids,
            source_collected_by_ids: row.source_collected_by_ids,
            accept_get_urls: row.accept_get_urls,
            accept_storage_ids: row.accept_storage_ids,
            presigned: row.presigned,
            verbose_storage: row.verbose_storage,
            include_object_timerange: row.include_object_timerange,
            dialect: match row.api_version {
                None => Dialect::default(),
                Some(version) => Dialect::from_version(&version)
                    .ok_or_else(|| RowError(format!("{version:?} is no version of TAMS known here")))?,
            },
            tags: tags::from_columns(row.tags, row.tag_lists),
            status: WebhookStatus::from_word(&row.status)
                .ok_or_else(|| RowError(format!("{:?} is no status of a webhook", row.status)))?,
            error,
            created: times::utc(row.created)?,
            delivered: EventPlace {
                seq: u64::try_from(row.delivered_seq).map_err(RowError::new)?,
                index: u32::try_from(row.delivered_index).map_err(RowError::new)?,
            },
        })
    }
}
