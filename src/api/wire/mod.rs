//! The JSON shapes of the API and their way to and from the domain. Each shape says once what it holds: `shape!`
//! makes the struct for serde and its schema for the OpenAPI document from the same lines.

#[macro_use]
pub mod shape;

mod delete_request;
mod event;
mod flow;
mod flow_put;
mod instance;
mod object;
mod profile;
mod segment;
mod service;
mod source;
mod storage;
mod technical;
mod technical_keys;
mod text;
mod webhook;

pub use delete_request::DeleteRequestShape;
pub use event::{EventBody, EventShape};
pub use flow::FlowShape;
pub use flow_put::{FlowPut, check_collection};
pub use instance::InstancePost;
pub use object::{GetUrl, InitObject, ObjectShape};
pub use profile::{ProfilePost, ProfileShape};
pub use segment::{FailedSegment, FailedSegments, SegmentInit, SegmentShape, Segments};
pub use service::{EventMechanism, STORE_TYPE, ServicePost, ServiceShape, StorageBackendShape};
pub use source::SourceShape;
pub use storage::{MediaObjectShape, MediaObjects, PutUrl, StoragePost};
pub use text::{TagName, Time, is_plain_mime_type};
pub use webhook::{AttemptShape, EventWord, WebhookPost, WebhookPut, WebhookShape, WishedStatus};

use serde::{Deserialize, Deserializer};

/// For optional keys: one that is there has a value. Without it serde takes `null` for a missing key, and a client's
/// mistake would pass as an absent label.
pub fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
