//! What a client can ask for, one file a verb. Each write loads facts, decides with a pure function and commits; each
//! read looks at one snapshot. No status codes, no JSON, no paths: those belong to `api` and `media`.

mod allocate_storage;
mod collect_objects;
mod delete_flow;
mod delete_segments;
mod edit_flow;
mod edit_service;
mod edit_source;
mod error;
mod flow_collection;
mod flow_view;
mod get_object;
mod list_flows;
mod list_segments;
mod list_sources;
mod media_bytes;
mod page;
mod put_flow;
mod register_segments;
mod source_view;
mod storage_backends;
mod tag_filter;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::media::LocalMedia;

pub use allocate_storage::{AllocatedObject, MAX_LIMIT, StorageRequest, allocate_storage};
pub use collect_objects::{Collected, collect_objects, run_collector};
pub use delete_flow::delete_flow;
pub use delete_segments::delete_segments;
pub use edit_flow::{FlowEdit, edit_flow};
pub use edit_service::{ServiceEdit, edit_service};
pub use edit_source::{SourceEdit, edit_source};
pub use error::{OperationError, SegmentRefusal};
pub use flow_view::{FlowView, get_flow};
pub use get_object::{ObjectView, get_object};
pub use list_flows::{CollectedBy, FlowFilter, FlowSort, list_flows};
pub use list_segments::{SegmentFilter, SegmentView, list_segments};
pub use list_sources::{SourceFilter, SourceSort, list_sources};
pub use media_bytes::{StoredMedia, read_media, write_media};
pub use page::{Cursor, Page, PageRequest, SortKey};
pub use put_flow::{FlowRequest, PutFlow, put_flow};
pub use register_segments::{SegmentRequest, UncontrolledUrl, register_segments};
pub use source_view::{SourceView, get_source};
pub use storage_backends::{StorageBackend, ensure_storage_id, storage_backends};
pub use tag_filter::TagFilter;

/// The parts that operations work with.
pub struct Tams {
    pub catalog: Catalog,
    pub media: LocalMedia,
    pub clock: Clock,
    pub settings: Settings,
    /// Rung when Objects may have lost their last reference.
    pub collect: Notify,
}

pub type SharedTams = Arc<Tams>;

#[derive(Debug, Clone)]
pub struct Settings {
    /// How long an allocated Object waits for its first registration.
    pub object_timeout: Duration,
    /// Label of the embedded storage backend, and of the URLs of its Objects.
    pub storage_label: String,
    /// Bytes that uploads must leave free.
    pub min_free: u64,
}
