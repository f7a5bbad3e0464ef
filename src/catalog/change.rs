//! Effects: what a commit does to the catalogue, as opposed to what somebody asked for.

use std::sync::Arc;

use crate::domain::{
    DeleteRequest, DeleteRequestId, Event, Flow, FlowId, FlowSegment, MediaObject, ObjectId, Profile, ServiceInfo,
    Source, SourceId, Tags, TimeRange, Webhook, WebhookId, tags,
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

impl Change {
    /// Bytes of memory that it holds, about.
    pub fn weight(&self) -> usize {
        fn texts<'a>(tags: &Tags, texts: impl IntoIterator<Item = &'a Option<String>>) -> usize {
            64 * tags.len() + tags::bytes(tags) + texts.into_iter().flatten().map(String::len).sum::<usize>()
        }
        match self {
            Self::PutFlow(flow) => {
                1_024 + 128 * flow.flow_collection.len() + texts(&flow.tags, [&flow.label, &flow.description])
            }
            Self::PutSource(source) => 512 + texts(&source.tags, [&source.label, &source.description]),
            Self::PutProfile(profile) => 1_024 + texts(&profile.tags, [&profile.label, &profile.description]),
            Self::PutService(service) => 256 + texts(&Tags::new(), [&service.name, &service.description]),
            Self::PutObject(object) => 512 + 256 * object.instances.len(),
            Self::PutSegment(segment) => 256 + segment.object_id.as_str().len(),
            Self::PutWebhook(webhook) => 1_024 + webhook.url.len() + texts(&webhook.tags, []),
            Self::AppendEvent(event) => {
                256 + 4 * event.changes.len() + 16 * (event.flow_collected_by.len() + event.source_collected_by.len())
            }
            _ => 256,
        }
    }
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
