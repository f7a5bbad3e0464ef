//! Effects: what a commit does to the catalogue, as opposed to what somebody asked for.

use std::sync::Arc;

use crate::domain::{
    DeleteRequest, DeleteRequestId, Event, Flow, FlowId, FlowSegment, MediaObject, ObjectId, Profile, ServiceInfo,
    Source, SourceId, TimeRange, Webhook, WebhookId,
};

/// Place of a commit in the log, and of a row within it: orders every row that was ever written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn {
    /// Number of the log entry, from 1; 0 is before any.
    pub seq: u64,
    /// Number of the change within its entry, from 0.
    pub index: u32,
}

/// One change. Rows that are put replace a row with the same key.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    PutService(Arc<ServiceInfo>),
    PutProfile(Arc<Profile>),
    PutSource(Arc<Source>),
    DeleteSource(SourceId),
    /// `segments_updated` is not part of it: that follows from the log.
    PutFlow(Arc<Flow>),
    DeleteFlow(FlowId),
    PutObject(Arc<MediaObject>),
    DeleteObject(ObjectId),
    PutSegment(Arc<FlowSegment>),
    DeleteSegment(SegmentKey),
    /// All segments of the Flow that lie wholly inside the timerange, however many: one row in the log.
    DeleteSegmentsWithin {
        flow_id: FlowId,
        timerange: TimeRange,
    },
    PutDeleteRequest(Arc<DeleteRequest>),
    /// A finished one that is past its expiry.
    DropDeleteRequest(DeleteRequestId),
    PutWebhook(Arc<Webhook>),
    DeleteWebhook(WebhookId),
    /// Changes nothing: it tells of the changes around it.
    AppendEvent(Arc<Event>),
}

/// A segment's place: its Flow and the start of its timerange. Orders as the timeline does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentKey {
    pub flow_id: FlowId,
    /// [`TimeRange::start_key`].
    pub start: i128,
}

impl SegmentKey {
    pub fn of(segment: &FlowSegment) -> Self {
        Self { flow_id: segment.flow_id, start: segment.timerange.start_key() }
    }
}
