//! How far a Webhook has come: written by the server itself, never against what its owner did meanwhile.

use std::sync::Arc;

use super::{OperationError, Tams};
use crate::catalog::Change;
use crate::domain::{EventPlace, Webhook, WebhookError, WebhookId, WebhookStatus};

/// Everything up to `place` was delivered or is none of its business. `started`: something was delivered.
pub async fn record_delivered(
    tams: &Tams,
    id: WebhookId,
    place: EventPlace,
    started: bool,
) -> Result<(), OperationError> {
    tams.catalog
        .commit(1_024, move |state, _| {
            // One that was switched off or deleted meanwhile keeps what its owner made of it.
            let Some(old) = state.webhook(id).filter(|webhook| webhook.status.is_active()) else {
                return Ok((Vec::new(), ()));
            };
            let status = if started { WebhookStatus::Started } else { old.status };
            let webhook = Webhook { status, delivered: old.delivered.max(place), ..Webhook::clone(old) };
            let changes = if webhook == **old { Vec::new() } else { vec![Change::PutWebhook(Arc::new(webhook))] };
            Ok((changes, ()))
        })
        .await
}

/// Gives up on a Webhook, unless its owner has pointed it somewhere else since `tried`.
pub async fn record_failure(
    tams: &Tams,
    tried: Arc<Webhook>,
    place: EventPlace,
    error: WebhookError,
) -> Result<(), OperationError> {
    tams.catalog
        .commit(1_024, move |state, _| {
            let old = state.webhook(tried.id).filter(|old| old.status.is_active() && old.same_target(&tried));
            let change = old.map(|old| {
                Change::PutWebhook(Arc::new(Webhook {
                    status: WebhookStatus::Error,
                    error: Some(error.clone()),
                    delivered: old.delivered.max(place),
                    ..Webhook::clone(old)
                }))
            });
            Ok((change.into_iter().collect(), ()))
        })
        .await
}
