//! The JSON shapes of the API and their way to and from the domain. Each shape says once what it holds: `shape!`
//! makes the struct for serde and its schema for the OpenAPI document from the same lines.

#[macro_use]
pub mod shape;

mod flow;
mod flow_put;
mod object;
mod segment;
mod service;
mod source;
mod storage;
mod technical;
mod text;

pub use flow::FlowShape;
pub use flow_put::{FlowPut, check_collection};
pub use object::{GetUrl, InitObject, ObjectShape};
pub use segment::{FailedSegment, FailedSegments, SegmentInit, SegmentPost, SegmentShape, Segments};
pub use service::{STORE_TYPE, ServicePost, ServiceShape, StorageBackendShape};
pub use source::SourceShape;
pub use storage::{MediaObjectShape, MediaObjects, PutUrl, StoragePost};
pub use text::{TagName, Time, is_plain_mime_type};

use serde::{Deserialize, Deserializer};

/// For optional keys: one that is there has a value. Without it serde takes `null` for a missing key, and a client's
/// mistake would pass as an absent label.
pub fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
