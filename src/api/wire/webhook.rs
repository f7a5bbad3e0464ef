//! Webhooks as JSON, in both directions. The secret comes in and never goes out.

use poem_openapi::registry::MetaSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::shape::{inline, one_word_of};
use super::text::Time;
use crate::domain::{EventKind, FlowId, Secret, SourceId, StorageId, Tags, Webhook, WebhookError, WebhookId};
use crate::events::Attempt;

/// The name of a kind of event.
#[derive(Debug, Clone, Copy)]
pub struct EventWord(pub EventKind);

impl Serialize for EventWord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.word())
    }
}

impl<'de> Deserialize<'de> for EventWord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        EventKind::from_word(&word).map(Self).ok_or_else(|| D::Error::unknown_variant(&word, &EVENT_WORDS))
    }
}

pub const EVENT_WORDS: [&str; 8] = [
    "flows/created",
    "flows/updated",
    "flows/deleted",
    "flows/segments_added",
    "flows/segments_deleted",
    "sources/created",
    "sources/updated",
    "sources/deleted",
];

api_type!([] EventWord, "event_type", one_word_of(&EVENT_WORDS), |_| {});

/// A status that clients may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WishedStatus {
    Created,
    Disabled,
}

api_type!([] WishedStatus, "webhook_status", one_word_of(&["created", "disabled"]), |_| {});

/// A text that is not printed.
#[derive(Debug, Clone)]
pub struct SecretText(pub Secret);

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Secret::new(text)))
    }
}

api_type!(
    [] SecretText,
    "secret",
    inline(MetaSchema { write_only: true, ..MetaSchema::new("string") }),
    |_| {}
);

shape! {
    /// A webhook to register.
    #[derive(Deserialize)]
    struct WebhookPost as "WebhookPost" {
        required {
            /// An http or https URL that takes a POST for each event.
            url as "url": String,
            /// What to be told of.
            events as "events": Vec<EventWord>,
        }
        optional {
            /// Name of a header to send with each event.
            api_key_name as "api_key_name": String,
            /// Value of that header. Never shown again.
            api_key_value as "api_key_value": SecretText,
            /// Only events of these Flows and their segments.
            flow_ids as "flow_ids": Vec<FlowId>,
            /// Only events of these Sources, their Flows and segments.
            source_ids as "source_ids": Vec<SourceId>,
            /// Only events of Flows in one of these collections; empty for Flows in none.
            flow_collected_by_ids as "flow_collected_by_ids": Vec<FlowId>,
            /// Only events of Sources in one of these collections; empty for Sources in none.
            source_collected_by_ids as "source_collected_by_ids": Vec<SourceId>,
            /// Labels of the get_urls in events of segments; empty for no get_urls.
            accept_get_urls as "accept_get_urls": Vec<String>,
            /// Storage backends of the get_urls in events of segments.
            accept_storage_ids as "accept_storage_ids": Vec<StorageId>,
            /// Whether get_urls are to carry their own permission.
            presigned as "presigned": bool,
            /// Whether get_urls tell of their storage backend too.
            verbose_storage as "verbose_storage": bool,
            /// Whether segments tell the timerange of their object.
            include_object_timerange as "include_object_timerange": bool,
            tags as "tags": Tags,
            /// disabled to be told of nothing yet.
            status as "status": WishedStatus,
        }
    }
}

shape! {
    /// What a webhook is to be from now on; what is left out is removed, except for the secret.
    #[derive(Deserialize)]
    struct WebhookPut as "WebhookPut" {
        required {
            /// As in the path.
            id as "id": WebhookId,
            /// An http or https URL that takes a POST for each event.
            url as "url": String,
            /// What to be told of.
            events as "events": Vec<EventWord>,
            /// created starts it, also after an error; disabled stops it.
            status as "status": WishedStatus,
        }
        optional {
            /// Name of a header to send with each event. Without it the secret is forgotten.
            api_key_name as "api_key_name": String,
            /// Value of that header. Never shown again; where it is left out, the one before stays.
            api_key_value as "api_key_value": SecretText,
            /// Only events of these Flows and their segments.
            flow_ids as "flow_ids": Vec<FlowId>,
            /// Only events of these Sources, their Flows and segments.
            source_ids as "source_ids": Vec<SourceId>,
            /// Only events of Flows in one of these collections; empty for Flows in none.
            flow_collected_by_ids as "flow_collected_by_ids": Vec<FlowId>,
            /// Only events of Sources in one of these collections; empty for Sources in none.
            source_collected_by_ids as "source_collected_by_ids": Vec<SourceId>,
            /// Labels of the get_urls in events of segments; empty for no get_urls.
            accept_get_urls as "accept_get_urls": Vec<String>,
            /// Storage backends of the get_urls in events of segments.
            accept_storage_ids as "accept_storage_ids": Vec<StorageId>,
            /// Whether get_urls are to carry their own permission.
            presigned as "presigned": bool,
            /// Whether get_urls tell of their storage backend too.
            verbose_storage as "verbose_storage": bool,
            /// Whether segments tell the timerange of their object.
            include_object_timerange as "include_object_timerange": bool,
            tags as "tags": Tags,
        }
    }
}

impl WebhookPut {
    pub fn into_post(self) -> WebhookPost {
        WebhookPost {
            url: self.url,
            events: self.events,
            api_key_name: self.api_key_name,
            api_key_value: self.api_key_value,
            flow_ids: self.flow_ids,
            source_ids: self.source_ids,
            flow_collected_by_ids: self.flow_collected_by_ids,
            source_collected_by_ids: self.source_collected_by_ids,
            accept_get_urls: self.accept_get_urls,
            accept_storage_ids: self.accept_storage_ids,
            presigned: self.presigned,
            verbose_storage: self.verbose_storage,
            include_object_timerange: self.include_object_timerange,
            tags: self.tags,
            status: Some(self.status),
        }
    }
}

shape! {
    /// Why a webhook was given up.
    #[derive(Serialize)]
    struct WebhookErrorShape<'a> as "WebhookError" {
        required {
            /// A stable word to branch on.
            error_type as "type": &'a str,
            /// One sentence for people.
            summary as "summary": &'a str,
            time as "time": Time,
        }
        optional {}
    }
}

impl<'a> From<&'a WebhookError> for WebhookErrorShape<'a> {
    fn from(error: &'a WebhookError) -> Self {
        Self { error_type: &error.kind, summary: &error.summary, time: Time(error.time) }
    }
}

shape! {
    /// A webhook: who is told of which events.
    #[derive(Serialize)]
    struct WebhookShape<'a> as "Webhook" {
        required {
            id as "id": WebhookId,
            url as "url": &'a str,
            events as "events": Vec<EventWord>,
            /// created until the first delivery, then started; disabled by its owner; error when the server gave up.
            status as "status": &'a str,
        }
        optional {
            /// Why it was given up.
            error as "error": WebhookErrorShape<'a>,
            api_key_name as "api_key_name": &'a str,
            flow_ids as "flow_ids": &'a [FlowId],
            source_ids as "source_ids": &'a [SourceId],
            flow_collected_by_ids as "flow_collected_by_ids": &'a [FlowId],
            source_collected_by_ids as "source_collected_by_ids": &'a [SourceId],
            accept_get_urls as "accept_get_urls": &'a [String],
            accept_storage_ids as "accept_storage_ids": &'a [StorageId],
            presigned as "presigned": bool,
            verbose_storage as "verbose_storage": bool,
            include_object_timerange as "include_object_timerange": bool,
            tags as "tags": &'a Tags,
        }
    }
}

impl<'a> From<&'a Webhook> for WebhookShape<'a> {
    fn from(webhook: &'a Webhook) -> Self {
        Self {
            id: webhook.id,
            url: &webhook.url,
            events: webhook.events.iter().copied().map(EventWord).collect(),
            status: webhook.status.word(),
            error: webhook.error.as_ref().map(WebhookErrorShape::from),
            api_key_name: webhook.api_key_name.as_deref(),
            flow_ids: webhook.flow_ids.as_deref(),
            source_ids: webhook.source_ids.as_deref(),
            flow_collected_by_ids: webhook.flow_collected_by_ids.as_deref(),
            source_collected_by_ids: webhook.source_collected_by_ids.as_deref(),
            accept_get_urls: webhook.accept_get_urls.as_deref(),
            accept_storage_ids: webhook.accept_storage_ids.as_deref(),
            presigned: webhook.presigned,
            verbose_storage: webhook.verbose_storage,
            include_object_timerange: webhook.include_object_timerange,
            tags: Some(&webhook.tags).filter(|tags| !tags.is_empty()),
        }
    }
}

shape! {
    /// One attempt to deliver one event.
    #[derive(Serialize)]
    struct AttemptShape<'a> as "DeliveryAttempt" {
        required {
            time as "time": Time,
            event_type as "event_type": EventWord,
            /// The event's place in the log; the id under which event streams show it.
            event_id as "event_id": String,
            /// Which attempt for this event it was, from 1.
            attempt as "attempt": u32,
            /// How long it took.
            milliseconds as "milliseconds": u64,
        }
        optional {
            /// HTTP status of the receiver's answer, if there was one.
            status as "status": u16,
            /// Why the event does not count as delivered.
            failure as "failure": &'a str,
        }
    }
}

impl<'a> From<&'a Attempt> for AttemptShape<'a> {
    fn from(attempt: &'a Attempt) -> Self {
        Self {
            time: Time(attempt.time),
            event_type: EventWord(attempt.event),
            event_id: crate::events::place_text(attempt.place),
            attempt: attempt.attempt,
            milliseconds: u64::try_from(attempt.took.as_millis()).unwrap_or(u64::MAX),
            status: attempt.status,
            failure: attempt.failure.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_event_has_its_word() {
        assert_eq!(EventKind::ALL.map(EventKind::word), EVENT_WORDS);
    }

    #[test]
    fn a_secret_is_not_printed() {
        let post = r#"{"url":"https://a","events":[],"api_key_name":"X","api_key_value":"s3cret"}"#;
        let post: WebhookPost = serde_json::from_str(post).unwrap();
        assert!(!format!("{post:?}").contains("s3cret"));
        assert_eq!(post.api_key_value.unwrap().0.reveal(), "s3cret");
    }
}
