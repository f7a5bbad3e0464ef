//! A Webhook: who wants to be told of which events, and how far that has come.

use super::event::EventKind;
use super::{Dialect, FlowId, SourceId, StorageId, Tags, UtcTime, WebhookId};

#[derive(Debug, Clone, PartialEq)]
pub struct Webhook {
    pub id: WebhookId,
    pub url: String,
    /// Header that carries the secret.
    pub api_key_name: Option<String>,
    pub api_key_value: Option<Secret>,
    pub events: Vec<EventKind>,
    /// Each filter that is there must hold; an empty list of collectors asks for what nothing collects.
    pub flow_ids: Option<Vec<FlowId>>,
    pub source_ids: Option<Vec<SourceId>>,
    pub flow_collected_by_ids: Option<Vec<FlowId>>,
    pub source_collected_by_ids: Option<Vec<SourceId>>,
    /// How segments are shown; as the query parameters of the same names.
    pub accept_get_urls: Option<Vec<String>>,
    pub accept_storage_ids: Option<Vec<StorageId>>,
    pub presigned: Option<bool>,
    pub verbose_storage: Option<bool>,
    pub include_object_timerange: Option<bool>,
    /// The version of TAMS that it was last registered through: events are told in it.
    pub dialect: Dialect,
    pub tags: Tags,
    pub status: WebhookStatus,
    pub error: Option<WebhookError>,
    pub created: UtcTime,
    /// The last event that was delivered or passed over.
    pub delivered: EventPlace,
}

impl Webhook {
    /// Whether deliveries to both go to the same place in the same way.
    pub fn same_target(&self, other: &Self) -> bool {
        self.url == other.url && self.api_key_name == other.api_key_name && self.api_key_value == other.api_key_value
    }
}

/// An event's place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EventPlace {
    pub seq: u64,
    pub index: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookStatus {
    /// Waits for its first delivery.
    Created,
    Started,
    /// Switched off by its owner.
    Disabled,
    /// Given up by the server.
    Error,
}

impl WebhookStatus {
    const ALL: [Self; 4] = [Self::Created, Self::Started, Self::Disabled, Self::Error];

    /// Whether events are delivered, or would be if there were any.
    pub fn is_active(self) -> bool {
        matches!(self, Self::Created | Self::Started)
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Started => "started",
            Self::Disabled => "disabled",
            Self::Error => "error",
        }
    }

    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.word() == word)
    }
}

/// Why deliveries were given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookError {
    pub kind: String,
    pub summary: String,
    pub time: UtcTime,
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// For the header it belongs in, and for the row that keeps it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}
