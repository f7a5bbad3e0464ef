//! Webhooks by URL, a page at a time.
//! Spec: GET_webhooks, GET_webhooks-webhookId

use std::sync::Arc;

use super::page::{Cursor, Page, PageRequest, SortKey, select};
use super::{OperationError, TagFilter};
use crate::catalog::State;
use crate::domain::{Webhook, WebhookId};

pub fn list_webhooks(
    state: &State,
    tags: &TagFilter,
    reverse_order: bool,
    page: &PageRequest<Cursor<WebhookId>>,
) -> Page<Arc<Webhook>, Cursor<WebhookId>> {
    let place = |webhook: &Arc<Webhook>| Cursor { key: SortKey::Text(Some(webhook.url.clone())), id: webhook.id };
    select(state.webhooks(), place, |webhook| tags.matches(&webhook.tags), reverse_order, page)
}

pub fn get_webhook(state: &State, id: WebhookId) -> Result<Arc<Webhook>, OperationError> {
    state.webhook(id).cloned().ok_or(OperationError::WebhookNotFound(id))
}
