//! Pure values of TAMS: no I/O, no clock, no JSON of the API, no Arrow. Whoever holds one holds a valid one;
//! text forms of times, ranges and ids live here, because JSON, SQL and log share them.

pub mod delete_request;
pub mod dialect;
pub mod essence;
pub mod event;
pub mod flow;
pub mod flow_segment;
pub mod hex;
pub mod ids;
pub mod leap_seconds;
pub mod object;
pub mod profile;
pub mod service;
pub mod source;
pub mod tags;
pub mod timerange;
pub mod timestamp;
pub mod webhook;

#[cfg(test)]
mod timerange_laws;

/// Wall-clock time, UTC, kept to the microsecond in every table.
pub type UtcTime = chrono::DateTime<chrono::Utc>;

pub use delete_request::{DeleteRequest, DeleteStatus};
pub use dialect::Dialect;
pub use essence::{ContentFormat, Essence};
pub use event::{Event, EventKind};
pub use flow::{BitRate, CollectionItem, ContainerMapping, Flow, FlowStatus, MimeType, Rational, Technical};
pub use flow_segment::{FlowSegment, ObjectPlace};
pub use hex::{hex, unhex, unhex_all};
pub use ids::{DeleteRequestId, FlowId, ObjectId, ProfileId, SourceId, StorageId, WebhookId};
pub use object::{Allocation, CondemnedInstance, Instance, MediaObject, ObjectKind};
pub use profile::Profile;
pub use service::ServiceInfo;
pub use source::Source;
pub use tags::{TagValue, Tags};
pub use timerange::{Bound, TimeRange};
pub use timestamp::Timestamp;
pub use webhook::{EventPlace, Secret, Webhook, WebhookError, WebhookStatus};
