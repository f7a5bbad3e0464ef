//! What the service says of itself, and its storage backends.

use serde::{Deserialize, Serialize};

use crate::domain::{StorageId, Tags, Timestamp};
use crate::operations::StorageBackend;

shape! {
    /// A way to be told of events.
    #[derive(Serialize)]
    struct EventMechanism<'a> as "EventStreamMechanism" {
        required {
            name as "name": &'a str,
        }
        optional {
            /// Where it is described.
            docs as "docs": &'a str,
            config as "config": EventConfig<'a>,
        }
    }
}

shape! {
    /// Where a stream of events is.
    #[derive(Serialize)]
    struct EventConfig<'a> as "EventStreamConfig" {
        required {
            /// Path below the base URL.
            path as "path": &'a str,
        }
        optional {}
    }
}

impl EventMechanism<'static> {
    pub fn all() -> Vec<Self> {
        let docs = "https://github.com/bbc/tams/blob/main/docs/README.md";
        let stream = |name, docs, path| Self { name, docs: Some(docs), config: Some(EventConfig { path }) };
        vec![
            Self { name: "webhooks", docs: Some(docs), config: None },
            stream("server-sent-events", "https://html.spec.whatwg.org/multipage/server-sent-events.html", "/events"),
            stream("websocket", "https://www.rfc-editor.org/rfc/rfc6455", "/events/ws"),
        ]
    }
}

shape! {
    /// The service: who it is, which API it speaks, how long it waits.
    #[derive(Serialize)]
    struct ServiceShape<'a> as "Service" {
        required {
            /// Starts with urn:x-tams:service.
            service_type as "type": &'a str,
            /// Version of the TAMS API, major.minor.
            api_version as "api_version": &'a str,
            /// How long an allocated object waits at least for its first segment.
            min_object_timeout as "min_object_timeout": Timestamp,
        }
        optional {
            /// A short name for people.
            name as "name": &'a str,
            /// A longer text for people.
            description as "description": &'a str,
            /// Version of this software.
            service_version as "service_version": &'a str,
            /// How long signed URLs work at least.
            min_presigned_url_timeout as "min_presigned_url_timeout": Timestamp,
            /// Ways to be told of events.
            event_stream_mechanisms as "event_stream_mechanisms": Vec<EventMechanism<'a>>,
        }
    }
}

shape! {
    /// New values for what the service says of itself. A key that is left out stays as it is; an empty text removes it.
    #[derive(Deserialize)]
    struct ServicePost as "ServicePost" {
        required {}
        optional {
            /// A short name for people.
            name as "name": String,
            /// A longer text for people.
            description as "description": String,
        }
    }
}

shape! {
    /// A place where media bytes are kept.
    #[derive(Serialize)]
    struct StorageBackendShape<'a> as "StorageBackend" {
        required {
            id as "id": StorageId,
            /// Media is written and read by plain HTTP requests.
            store_type as "store_type": &'a str,
            /// Who runs it.
            provider as "provider": &'a str,
            /// What it is.
            store_product as "store_product": &'a str,
        }
        optional {
            /// Its name; the URLs of its objects carry it as their label.
            label as "label": &'a str,
            /// Whether storage comes from here when a request names no backend.
            default_storage as "default_storage": bool,
            tags as "tags": &'a Tags,
        }
    }
}

/// The only `store_type` that TAMS knows.
pub const STORE_TYPE: &str = "http_object_store";

impl<'a> From<&'a StorageBackend> for StorageBackendShape<'a> {
    fn from(backend: &'a StorageBackend) -> Self {
        Self {
            id: backend.id,
            store_type: STORE_TYPE,
            provider: &backend.provider,
            store_product: &backend.store_product,
            label: Some(&backend.label),
            default_storage: backend.default_storage.then_some(true),
            tags: Some(&backend.tags).filter(|tags| !tags.is_empty()),
        }
    }
}
