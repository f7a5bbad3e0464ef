//! Registers, replaces and removes Webhooks. Who they belong to and whether their URL may be called at all is decided
//! before; what is kept here of a secret is sealed already.
//! Spec: POST_webhooks, PUT_webhooks, DELETE_webhooks-webhookId

use std::sync::Arc;

use super::{OperationError, Tams};
use crate::catalog::{Change, State};
use crate::domain::{
    Dialect, EventKind, EventPlace, FlowId, Secret, SourceId, StorageId, Tags, UtcTime, Webhook, WebhookId,
    WebhookStatus,
};

/// Each has a task and a place in memory.
pub const MAX_WEBHOOKS: usize = 1_000;

/// The [`crate::domain::WebhookError::kind`] of a Webhook whose events are not in the log any more.
pub const EVENTS_LOST: &str = "events_lost";

#[derive(Debug, Clone)]
pub struct WebhookRequest {
    pub url: String,
    pub api_key_name: Option<String>,
    /// Sealed.
    pub api_key_value: Option<Secret>,
    pub events: Vec<EventKind>,
    pub flow_ids: Option<Vec<FlowId>>,
    pub source_ids: Option<Vec<SourceId>>,
    pub flow_collected_by_ids: Option<Vec<FlowId>>,
    pub source_collected_by_ids: Option<Vec<SourceId>>,
    pub accept_get_urls: Option<Vec<String>>,
    pub accept_storage_ids: Option<Vec<StorageId>>,
    pub presigned: Option<bool>,
    pub verbose_storage: Option<bool>,
    pub include_object_timerange: Option<bool>,
    /// What events are told in.
    pub dialect: Dialect,
    pub tags: Tags,
    pub disabled: bool,
}

const WEIGHT: usize = 8_192;

pub async fn create_webhook(tams: &Tams, request: WebhookRequest) -> Result<Arc<Webhook>, OperationError> {
    let id = WebhookId::from_random(tams.clock.random_bytes());
    tams.catalog
        .commit(WEIGHT, move |state, now| {
            if state.webhooks().count() >= MAX_WEBHOOKS {
                return Err(OperationError::TooManyWebhooks(MAX_WEBHOOKS));
            }
            let webhook = Arc::new(fresh(request.clone(), id, now, end_of(&state)));
            Ok((vec![Change::PutWebhook(webhook.clone())], webhook))
        })
        .await
}

pub async fn put_webhook(tams: &Tams, id: WebhookId, request: WebhookRequest) -> Result<Arc<Webhook>, OperationError> {
    tams.catalog
        .commit(WEIGHT, move |state, _| {
            let old = state.webhook(id).ok_or(OperationError::WebhookNotFound(id))?;
            let webhook = Arc::new(replacement(old, request.clone(), end_of(&state))?);
            let changes = if webhook == *old { Vec::new() } else { vec![Change::PutWebhook(webhook.clone())] };
            Ok((changes, webhook))
        })
        .await
}

pub async fn delete_webhook(tams: &Tams, id: WebhookId) -> Result<(), OperationError> {
    tams.catalog
        .commit(64, move |state, _| {
            state.webhook(id).ok_or(OperationError::WebhookNotFound(id))?;
            Ok((vec![Change::DeleteWebhook(id)], ()))
        })
        .await
}

/// Registers a Webhook, or replaces the one that `is_meant` recognizes by where events are sent and with which key: for
/// clients that know Webhooks by that. What they cannot say stays.
pub async fn put_webhook_to(
    tams: &Tams,
    request: WebhookRequest,
    is_meant: impl Fn(&Webhook) -> bool + Send + Sync + 'static,
) -> Result<(), OperationError> {
    let id = WebhookId::from_random(tams.clock.random_bytes());
    tams.catalog
        .commit(WEIGHT, move |state, now| {
            let webhook = match state.webhooks().find(|webhook| is_meant(webhook)) {
                Some(old) => {
                    let WebhookRequest { flow_collected_by_ids, source_collected_by_ids, .. } = request.clone();
                    let request = WebhookRequest {
                        flow_collected_by_ids: flow_collected_by_ids.or_else(|| none_of(&old.flow_collected_by_ids)),
                        source_collected_by_ids: source_collected_by_ids
                            .or_else(|| none_of(&old.source_collected_by_ids)),
                        // The same, sealed before.
                        api_key_value: None,
                        include_object_timerange: old.include_object_timerange,
                        tags: old.tags.clone(),
                        ..request.clone()
                    };
                    let webhook = replacement(old, request, end_of(&state))?;
                    if webhook == **old {
                        return Ok((Vec::new(), ()));
                    }
                    webhook
                }
                None if state.webhooks().count() >= MAX_WEBHOOKS => {
                    return Err(OperationError::TooManyWebhooks(MAX_WEBHOOKS));
                }
                None => fresh(request.clone(), id, now, end_of(&state)),
            };
            Ok((vec![Change::PutWebhook(Arc::new(webhook))], ()))
        })
        .await
}

/// A filter that asks for what nothing collects.
fn none_of<T: Clone>(filter: &Option<Vec<T>>) -> Option<Vec<T>> {
    filter.clone().filter(Vec::is_empty)
}

/// Removes all Webhooks that `is_meant` recognizes; there need not be one.
pub async fn delete_webhooks_to(
    tams: &Tams,
    is_meant: impl Fn(&Webhook) -> bool + Send + Sync + 'static,
) -> Result<(), OperationError> {
    tams.catalog
        .commit(WEIGHT, move |state, _| {
            let meant = state.webhooks().filter(|webhook| is_meant(webhook));
            Ok((meant.map(|webhook| Change::DeleteWebhook(webhook.id)).collect(), ()))
        })
        .await
}

/// The place after everything that has happened.
fn end_of(state: &State) -> EventPlace {
    EventPlace { seq: state.seq(), index: u32::MAX }
}

fn fresh(request: WebhookRequest, id: WebhookId, created: UtcTime, delivered: EventPlace) -> Webhook {
    Webhook {
        id,
        url: request.url,
        // A header without a name cannot be sent.
        api_key_value: request.api_key_value.filter(|_| request.api_key_name.is_some()),
        api_key_name: request.api_key_name,
        events: request.events,
        flow_ids: request.flow_ids,
        source_ids: request.source_ids,
        flow_collected_by_ids: request.flow_collected_by_ids,
        source_collected_by_ids: request.source_collected_by_ids,
        accept_get_urls: request.accept_get_urls,
        accept_storage_ids: request.accept_storage_ids,
        presigned: request.presigned,
        verbose_storage: request.verbose_storage,
        include_object_timerange: request.include_object_timerange,
        dialect: request.dialect,
        tags: request.tags,
        status: if request.disabled { WebhookStatus::Disabled } else { WebhookStatus::Created },
        error: None,
        created,
        delivered,
    }
}

/// Everything is replaced but the secret, which clients cannot read and so cannot send again.
fn replacement(old: &Webhook, mut request: WebhookRequest, end: EventPlace) -> Result<Webhook, OperationError> {
    if old.status == WebhookStatus::Error && request.disabled {
        return Err(OperationError::WebhookInError(old.id));
    }
    // What happened while it was off is not told; what could not be delivered is, as far as the log reaches.
    let lost = old.error.as_ref().is_some_and(|error| error.kind == EVENTS_LOST);
    let delivered = if old.status == WebhookStatus::Disabled || lost { end } else { old.delivered };
    let elsewhere = request.url != old.url || request.api_key_name != old.api_key_name;
    if elsewhere && request.api_key_name.is_some() && request.api_key_value.is_none() && old.api_key_value.is_some() {
        // Whoever may change the target must not get a secret that they cannot read.
        return Err(OperationError::SecretElsewhere);
    }
    if request.api_key_value.is_none() {
        request.api_key_value = old.api_key_value.clone();
    }
    Ok(fresh(request, old.id, old.created, delivered))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::WebhookError;

    fn request() -> WebhookRequest {
        WebhookRequest {
            url: "https://a.example".into(),
            api_key_name: Some("X-Key".into()),
            api_key_value: None,
            events: vec![EventKind::FlowCreated],
            flow_ids: None,
            source_ids: None,
            flow_collected_by_ids: None,
            source_collected_by_ids: None,
            accept_get_urls: None,
            accept_storage_ids: None,
            presigned: None,
            verbose_storage: None,
            include_object_timerange: None,
            dialect: Dialect::V8_2,
            tags: Tags::new(),
            disabled: false,
        }
    }

    #[test]
    fn a_kept_secret_is_not_sent_elsewhere() {
        let old = hook(WebhookStatus::Started, None);
        assert_eq!(replacement(&old, request(), END).unwrap().api_key_value, old.api_key_value);
        for (url, name) in [("https://b.example", "X-Key"), ("https://a.example", "Referer")] {
            let mut moved = WebhookRequest { url: url.into(), api_key_name: Some(name.into()), ..request() };
            let refused = replacement(&old, moved.clone(), END);
            assert!(matches!(refused, Err(OperationError::SecretElsewhere)), "{url} {name}");
            moved.api_key_value = Some(Secret::new("fresh".into()));
            assert_eq!(replacement(&old, moved, END).unwrap().api_key_value, Some(Secret::new("fresh".into())));
        }
    }

    const OLD: EventPlace = EventPlace { seq: 1, index: 0 };
    const END: EventPlace = EventPlace { seq: 9, index: u32::MAX };

    fn hook(status: WebhookStatus, error: Option<&str>) -> Webhook {
        let time = UtcTime::UNIX_EPOCH;
        let request = WebhookRequest { api_key_value: Some(Secret::new("s".into())), ..request() };
        let error = error.map(|kind| WebhookError { kind: kind.into(), summary: String::new(), time });
        Webhook { status, error, ..fresh(request, WebhookId::MIN, time, OLD) }
    }

    #[test]
    fn the_secret_stays_until_its_name_is_dropped() {
        let old = hook(WebhookStatus::Started, None);
        assert_eq!(replacement(&old, request(), END).unwrap().api_key_value, old.api_key_value);
        let nameless = WebhookRequest { api_key_name: None, ..request() };
        assert_eq!(replacement(&old, nameless, END).unwrap().api_key_value, None);
        let other = WebhookRequest { api_key_value: Some(Secret::new("t".into())), ..request() };
        assert_eq!(replacement(&old, other, END).unwrap().api_key_value, Some(Secret::new("t".into())));
    }

    #[test]
    fn only_one_that_was_off_or_lost_its_events_goes_on_from_the_end() {
        use WebhookStatus::{Created, Disabled, Error, Started};
        for (status, error, delivered) in [
            (Created, None, OLD),
            (Started, None, OLD),
            (Disabled, None, END),
            (Error, Some("delivery_failed"), OLD),
            (Error, Some(EVENTS_LOST), END),
        ] {
            let put = replacement(&hook(status, error), request(), END).unwrap();
            assert_eq!((put.status, put.error, put.delivered), (Created, None, delivered), "{status:?}");
        }
        let disable = || WebhookRequest { disabled: true, ..request() };
        assert!(replacement(&hook(Error, Some("delivery_failed")), disable(), END).is_err());
        assert_eq!(replacement(&hook(Started, None), disable(), END).unwrap().status, Disabled);
    }
}
