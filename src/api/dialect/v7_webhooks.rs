//! Registering webhooks as TAMS 7.0 does: they have no ids, the URL and the key tell which one is meant, and no events
//! mean no webhook. Listing them needs nothing of its own.
//! Spec: POST_webhooks of 7.0

use std::sync::Arc;

use poem::http::{Method, StatusCode};
use poem::{IntoResponse, Request, Response};
use poem_openapi::registry::MetaSchema;
use poem_openapi::{ApiExtractor, ExtractParamOptions};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::api::Api;
use crate::api::error::ApiError;
use crate::api::json::{JsonBody, parse_at};
use crate::api::status::internal;
use crate::api::webhooks::WebhooksApi;
use crate::api::wire::WebhookPost;
use crate::api::wire::shape::inline;
use crate::domain::{Dialect, EventKind, Webhook};
use crate::operations::{delete_webhooks_to, put_webhook_to};

/// Whether it is this request that 7.0 means otherwise.
pub fn is_registration(request: &Request) -> bool {
    request.method() == Method::POST && request.uri().path() == "/service/webhooks"
}

pub async fn register(api: &Arc<Api>, request: Request) -> poem::Result<Response> {
    let (request, mut body) = request.split();
    let JsonBody(Registration(mut sent)) =
        JsonBody::from_request(&request, &mut body, ExtractParamOptions::default()).await?;
    let removes = sent.get("events").and_then(Value::as_array).is_some_and(Vec::is_empty);
    relax(&mut sent);
    let sent = serde_json::to_vec(&sent).map_err(internal)?;
    let post: WebhookPost = parse_at(&sent, &["body"])?;

    let key = post.api_key_value.as_ref().filter(|_| post.api_key_name.is_some()).map(|secret| secret.0.clone());
    let (url, name, events) = (post.url.clone(), post.api_key_name.clone(), api.events.poster.clone());
    let is_meant = move |webhook: &Webhook| {
        let stored = webhook.api_key_value.as_ref().map(|sealed| events.vault().open(sealed));
        let same_key = match (&stored, &key) {
            (None, None) => true,
            (Some(Ok(stored)), Some(key)) => stored.reveal() == key.reveal(),
            _ => false,
        };
        webhook.url == url && webhook.api_key_name == name && same_key
    };
    if removes {
        delete_webhooks_to(&api.tams, is_meant).await.map_err(ApiError::from)?;
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let mut wanted = WebhooksApi(api.clone()).request(post)?;
    wanted.dialect = Dialect::V7_0;
    put_webhook_to(&api.tams, wanted, is_meant).await.map_err(ApiError::from)?;
    Ok(StatusCode::CREATED.into_response())
}

/// A registration as it came: what 8.2 makes of it is decided after it was relaxed.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct Registration(Map<String, Value>);

api_type!([] Registration, "Registration", inline(MetaSchema::new("object")), |_| {});

/// Kinds of events that are unknown here never happen. A list of nothing to choose from is no choice, other than in 8.2.
/// Keys that came later are not the client's: it may have copied them from what it was shown.
fn relax(sent: &mut Map<String, Value>) {
    if let Some(events) = sent.get_mut("events").and_then(Value::as_array_mut) {
        events.retain(|event| event.as_str().is_none_or(|word| EventKind::from_word(word).is_some()));
    }
    for key in ["flow_ids", "source_ids", "flow_collected_by_ids", "source_collected_by_ids"] {
        if sent.get(key).and_then(Value::as_array).is_some_and(Vec::is_empty) {
            sent.remove(key);
        }
    }
    for key in ["id", "status", "error", "tags", "include_object_timerange"] {
        sent.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_8_2_would_refuse_or_understand_otherwise_is_changed() {
        let mut sent = json!({
            "url": "https://a", "events": ["flows/created", "flows/painted", 5], "flow_ids": [], "source_ids": ["x"],
            "flow_collected_by_ids": [], "source_collected_by_ids": "x", "accept_get_urls": [], "status": "started",
            "id": "x", "tags": {}, "error": {}, "api_key_name": "X-Key",
        });
        relax(sent.as_object_mut().unwrap());
        let wanted = json!({
            "url": "https://a", "events": ["flows/created", 5], "source_ids": ["x"], "source_collected_by_ids": "x",
            "accept_get_urls": [], "api_key_name": "X-Key",
        });
        assert_eq!(sent, wanted);
    }
}
