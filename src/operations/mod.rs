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
mod event_view;
mod flow_collection;
mod flow_view;
mod get_object;
mod list_delete_requests;
mod list_flows;
mod list_segments;
mod list_sources;
mod list_webhooks;
mod media_bytes;
mod object_instances;
mod object_sizes;
mod page;
mod profiles;
mod put_flow;
mod put_webhook;
mod register_segments;
mod source_view;
mod storage_backends;
mod tag_filter;
mod webhook_progress;
mod work_off_deletes;

#[cfg(test)]
mod crash_tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Notify};

use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::media::LocalMedia;

pub use allocate_storage::{AllocatedObject, MAX_LIMIT, StorageRequest, allocate_storage};
pub use collect_objects::{Collected, collect_objects, run_collector};
pub use delete_flow::delete_flow;
pub use delete_segments::delete_segments;
pub use edit_flow::{FlowEdit, FlowEditMeaning, edit_flow};
pub use edit_service::{ServiceEdit, edit_service};
pub use edit_source::{SourceEdit, SourceEditMeaning, edit_source};
pub use error::{OperationError, SegmentRefusal};
pub use event_view::{EventView, event_view};
pub use flow_view::{FlowView, get_flow};
pub use get_object::{ObjectView, get_object};
pub use list_delete_requests::{DeleteRequestSort, get_delete_request, list_delete_requests};
pub use list_flows::{CollectedBy, FlowFilter, FlowSort, list_flows};
pub use list_segments::{SegmentFilter, SegmentView, list_segments};
pub use list_sources::{SourceFilter, SourceSort, list_sources};
pub use list_webhooks::{get_webhook, list_webhooks};
pub use media_bytes::{StoredMedia, read_media, write_media};
pub use object_instances::{NewInstance, add_instance, delete_instance};
pub use object_sizes::Sizes;
pub use page::{Cursor, Page, PageRequest, SortKey};
pub use profiles::{ProfileFilter, ProfileRequest, create_profile, get_profile, list_profiles};
pub use put_flow::{FlowMeaning, FlowRequest, PutFlow, TechnicalFrom, put_flow};
pub use put_webhook::{
    EVENTS_LOST, MAX_WEBHOOKS, WebhookRequest, create_webhook, delete_webhook, delete_webhooks_to, put_webhook,
    put_webhook_to,
};
pub use register_segments::{SegmentRequest, UncontrolledUrl, register_segments, register_sized_segments};
pub use source_view::{SourceView, get_source};
pub use storage_backends::{StorageBackend, ensure_storage_id, storage_backends};
pub use tag_filter::TagFilter;
pub use webhook_progress::{record_delivered, record_failure};
pub use work_off_deletes::{run_deleter, work_off_deletes};

/// The parts that operations work with.
pub struct Tams {
    pub catalog: Catalog,
    pub media: LocalMedia,
    pub clock: Clock,
    pub settings: Settings,
    /// Rung when Objects may have lost their last reference.
    pub collect: Notify,
    /// Rung when there are deletions to be worked off.
    pub delete: Notify,
    /// Held by whoever collects Objects.
    pub collecting: Mutex<()>,
}

pub type SharedTams = Arc<Tams>;

#[derive(Debug, Clone)]
pub struct Settings {
    /// How long an allocated Object waits for its first registration.
    pub object_timeout: Duration,
    /// Label of the embedded storage backend, and of the URLs of its Objects.
    pub storage_label: String,
    /// Segments that one commit deletes, at most; deleting more goes on in the background.
    pub max_delete_segments: usize,
    /// Bytes that uploads must leave free.
    pub min_free: u64,
}
