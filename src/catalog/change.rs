//! Effects: what a commit does to the catalogue, as opposed to what somebody asked for.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::cold::ColdFile;
use crate::domain::{
    DeleteRequest, DeleteRequestId, Event, Flow, FlowId, FlowSegment, MediaObject, ObjectId, ObjectPlace, Profile,
    ServiceInfo, Source, SourceId, Tags, TimeRange, Webhook, WebhookId, tags,
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
    /// With the place of its row ([`MediaObject::place`]), which the state does not know of cold ones.
    DeleteObject(ObjectId, ObjectPlace),
    /// Nothing may refer to it any more: to be found out, and then condemned or cleared.
    SuspectObject(ObjectId),
    /// A suspect that something refers to.
    ClearObject(ObjectId),
    /// Nothing refers to it, and nothing can from now on: its bytes are to be deleted.
    CondemnObject(ObjectId),
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
    /// What a deletion leaves of the part of a Flow's timeline that cold files may hold; never for nothing.
    PutColdExtent {
        flow_id: FlowId,
        timerange: TimeRange,
    },
    /// A cold file is part of its table from here on.
    PutFile(Arc<ColdFile>),
    /// A cold file is not part of its table any more; its bytes stay until nobody can go back to it.
    RetireFile(String),
    /// The bytes of a retired file are deleted.
    ForgetFile(String),
    /// The rows of this log entry and those before it are in cold files now, as far as they are at rest.
    Flushed {
        as_of: u64,
    },
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
            Self::PutObject(object) => object_weight(object),
            Self::PutSegment(segment) => segment_weight(segment),
            Self::PutWebhook(webhook) => 1_024 + webhook.url.len() + texts(&webhook.tags, []),
            Self::AppendEvent(event) => {
                256 + 4 * event.changes.len() + 16 * (event.flow_collected_by.len() + event.source_collected_by.len())
            }
            _ => 256,
        }
    }
}

/// Bytes of memory that a stored segment takes with its references, about.
pub fn segment_weight(segment: &FlowSegment) -> usize {
    432 + segment.object_id.as_str().len()
}

/// Bytes of memory that a stored Object takes, about.
pub fn object_weight(object: &MediaObject) -> usize {
    528 + object.id.as_str().len() + 256 * object.instances.len()
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

    /// Bytes that sort as the key does.
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        let (flow, start) = bytes.split_at_mut(16);
        flow.copy_from_slice(self.flow_id.as_bytes());
        start.copy_from_slice(&ordered(self.start));
        bytes
    }

    /// What [`Self::to_bytes`] gave, alone or before something else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (flow, rest) = bytes.split_first_chunk::<16>()?;
        let start = i128::from_be_bytes(*rest.first_chunk::<16>()?) ^ i128::MIN;
        Some(Self { flow_id: FlowId::from_exact_bytes(*flow), start })
    }
}

/// Big-endian bytes of a number with its sign bit flipped: they sort as the number does.
fn ordered(number: i128) -> [u8; 16] {
    (number ^ i128::MIN).to_be_bytes()
}

/// Key of a cold Object, as bytes that sort as it does.
pub fn object_key(place: ObjectPlace, id: &str) -> Vec<u8> {
    [&object_place_key(place)[..], id.as_bytes()].concat()
}

/// The first part of [`object_key`].
pub fn object_place_key(place: ObjectPlace) -> [u8; 32] {
    SegmentKey { flow_id: place.flow_id, start: place.start }.to_bytes()
}

/// A segment that needs an Object: key of `object_references`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReferenceKey {
    /// [`object_hash`]
    pub object_hash: i64,
    pub segment: SegmentKey,
}

impl ReferenceKey {
    pub fn first_of(object_hash: i64) -> Self {
        Self { object_hash, segment: SegmentKey { flow_id: FlowId::MIN, start: i128::MIN } }
    }

    /// Above all of its Object.
    pub fn end_of(object_hash: i64) -> Self {
        Self { object_hash, segment: SegmentKey { flow_id: FlowId::MAX, start: i128::MAX } }
    }

    /// Bytes that sort as the key does.
    pub fn to_bytes(self) -> [u8; 40] {
        let mut bytes = [0; 40];
        let (hash, segment) = bytes.split_at_mut(8);
        hash.copy_from_slice(&(self.object_hash ^ i64::MIN).to_be_bytes());
        segment.copy_from_slice(&self.segment.to_bytes());
        bytes
    }
}

/// What references know an Object by: the first eight bytes of its id's SHA-256. Two Objects may share it.
pub fn object_hash(id: &ObjectId) -> i64 {
    hash_of(id.as_str())
}

pub fn hash_of(id: &str) -> i64 {
    let hash = Sha256::digest(id);
    i64::from_be_bytes(std::array::from_fn(|place| hash.get(place).copied().unwrap_or_default()))
}
