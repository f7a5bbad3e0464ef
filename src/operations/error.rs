//! Why an operation was refused or failed. Variants carry values; `api::error` gives each its status.

use crate::catalog::{CommitError, ReadError};
use crate::domain::{
    ContentFormat, DeleteRequestId, FlowId, ObjectId, ProfileId, SourceId, StorageId, TimeRange, WebhookId,
};
use crate::media::MediaError;

#[derive(Debug, thiserror::Error)]
pub enum OperationError {
    #[error("Flow {0} does not exist")]
    FlowNotFound(FlowId),
    #[error("Source {0} does not exist")]
    SourceNotFound(SourceId),
    #[error("Object {0} does not exist")]
    ObjectNotFound(ObjectId),
    #[error("Profile {0} does not exist")]
    ProfileNotFound(ProfileId),
    #[error("Flow Delete Request {0} does not exist, or was done a while ago")]
    DeleteRequestNotFound(DeleteRequestId),
    #[error("Object {object_id} has no instance {wanted:?}")]
    InstanceNotFound { object_id: ObjectId, wanted: String },
    #[error("there is no tag {0:?}")]
    TagNotFound(String),
    #[error("url or api_key_name changes: give api_key_value again, for a kept one is not sent elsewhere")]
    SecretElsewhere,
    #[error("Webhook {0} does not exist")]
    WebhookNotFound(WebhookId),
    #[error("Webhook {0} is in error: PUT it with status created to start it again, or delete it")]
    WebhookInError(WebhookId),
    #[error("there are {0} Webhooks already, and no more than that are taken: delete one first")]
    TooManyWebhooks(usize),
    #[error("Flow {0} is read-only: PUT false to its read_only first")]
    ReadOnly(FlowId),

    #[error("Source {source_id} has format {has}, the Flow has {flow}: use another source_id", has = has.urn(), flow = flow.urn())]
    SourceFormat { source_id: SourceId, has: ContentFormat, flow: ContentFormat },
    #[error("the format of Flow {flow_id} is {has} and cannot become {wants}", has = has.urn(), wants = wants.urn())]
    FormatChange { flow_id: FlowId, has: ContentFormat, wants: ContentFormat },
    #[error("Flow {0} has segments, so its container cannot be removed")]
    ContainerInUse(FlowId),
    #[error("Flow {0} has no container: PUT the Flow with a container first")]
    NoContainer(FlowId),
    #[error("Flow {0} cannot collect itself")]
    CollectsItself(FlowId),
    #[error("flow_collection: Flow {0} does not exist")]
    MemberNotFound(FlowId),
    #[error("flow_collection: Flow {member} already collects Flow {flow_id}, directly or through others")]
    CollectionCycle { flow_id: FlowId, member: FlowId },
    #[error(
        "flow_collection: Flow {other} has the same Source and collects Source {member} in another {what}; \
         Flows of one Source must agree"
    )]
    CollectionConflict { other: FlowId, member: SourceId, what: &'static str },

    #[error("Profile {0} exists, and profiles never change: make another one under a new id")]
    ProfileExists(ProfileId),
    #[error("a profile describes one essence, so its format cannot be multi")]
    ProfileMulti,
    #[error("no profile has the id {0}: POST it to /service/profiles/{0} first")]
    ProfileUnknown(ProfileId),
    #[error(
        "Flow {0} has its avg_bit_rate from its profile: PUT the Flow with its own technical metadata and without \
         profile_id first"
    )]
    ProfileLinked(FlowId),
    #[error("Flow {0} was deleted, but not all of its segments are gone yet: its id is free again when they are")]
    FlowBeingDeleted(FlowId),

    #[error("an instance is named by storage_id or by label: give one of them")]
    InstanceChoice,
    #[error("this is the last instance of Object {0}: delete the segments that use it instead")]
    LastInstance(ObjectId),
    #[error("Object {0} has {1} instances, and no more than that are taken: delete one first")]
    TooManyInstances(ObjectId, usize),
    #[error("Object {object_id} already has an instance on storage backend {storage_id}")]
    InstanceExists { object_id: ObjectId, storage_id: StorageId },
    #[error("Object {object_id} has no bytes on this server that could be copied to storage backend {storage_id}")]
    NothingToCopy { object_id: ObjectId, storage_id: StorageId },
    #[error("Object {object_id} already has an instance with label {label:?}: choose another")]
    LabelTaken { object_id: ObjectId, label: String },
    #[error("label {0:?} belongs to a storage backend: choose another")]
    LabelOfBackend(String),
    #[error("{0:?} is not an http or https URL")]
    NotAUrl(String),

    #[error("no storage backend is the default: give a storage_id")]
    NoStorage,
    #[error("no storage backend has id {0}")]
    StorageNotFound(StorageId),
    #[error("Object ids already exist: {}", .0.iter().map(ObjectId::as_str).collect::<Vec<_>>().join(", "))]
    ObjectsExist(Vec<ObjectId>),
    #[error("object_ids names {0} twice")]
    ObjectTwice(ObjectId),

    #[error("the bytes of Object {0} are not here: they were not uploaded yet, or are lost")]
    BytesMissing(ObjectId),
    #[error("the disk is nearly full: the space that is left is for the catalogue")]
    NoSpaceForMedia,
    #[error("Object {0} is registered, so its bytes cannot change")]
    BytesImmutable(ObjectId),
    #[error(transparent)]
    Segment(#[from] SegmentRefusal),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Media(#[from] MediaError),
}

/// Why one segment was not registered. In a bulk request the others are not touched by it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SegmentRefusal {
    #[error("timerange {0} is empty or open: a segment needs a start and an end, like [0:0_2:0)")]
    Timerange(TimeRange),
    #[error("timerange {0} shifted by ts_offset leaves the range of times (about 2^48 seconds)")]
    OffsetOutOfRange(TimeRange),
    #[error("{new} overlaps {existing} of Flow {flow_id}")]
    Overlap { flow_id: FlowId, new: TimeRange, existing: TimeRange },
    #[error(
        "{new} is in the way of a deletion that is running, with {remaining} of Flow {flow_id} to go: wait until it is done"
    )]
    DeletionRunning { flow_id: FlowId, new: TimeRange, remaining: TimeRange },
    #[error("Object {0} was never allocated: ask for storage first, or give get_urls where its bytes are")]
    ObjectUnknown(ObjectId),
    #[error("Object {object_id} was allocated for Flow {allocated_for}, which must register it first")]
    ObjectOfOtherFlow { object_id: ObjectId, allocated_for: FlowId },
    #[error("the storage of Object {0} expired before it was registered: ask for new storage and upload again")]
    AllocationExpired(ObjectId),
    #[error("Object {0} lost its last segment and is being deleted: upload the media again under a new id")]
    ObjectCondemned(ObjectId),
    #[error("Object {0} is registered already: get_urls can only come with its first segment")]
    UrlsOfKnownObject(ObjectId),
    #[error("Object {object_id} has object_timerange {has}, not {given}")]
    ObjectTimerangeConflict { object_id: ObjectId, has: TimeRange, given: TimeRange },
    #[error(
        "timerange minus ts_offset is {used}, which is not inside {object_timerange}, the timerange of Object {object_id}"
    )]
    OutsideObject { object_id: ObjectId, used: TimeRange, object_timerange: TimeRange },
    #[error("object_timerange {0} is empty or open: it needs a start and an end")]
    ObjectTimerange(TimeRange),
    #[error("Object {object_id} has key_frame_count {has:?}, not {given}")]
    KeyFrameCountConflict { object_id: ObjectId, has: Option<i64>, given: i64 },
    #[error("key_frame_count cannot be negative: {0}")]
    KeyFrameCountNegative(i64),
    #[error("last_duration cannot be negative")]
    LastDurationNegative,
    #[error("get_urls label {0:?} is used twice")]
    LabelTwice(String),
    #[error("get_urls label {0:?} belongs to a storage backend: choose another")]
    LabelOfBackend(String),
    #[error("get_urls: {0:?} is not an http or https URL")]
    NotAUrl(String),
    #[error("Flow {0} has init_segments: true, so its media objects need an init_object_id")]
    InitMissing(FlowId),
    #[error("Flow {0} has no init_segments: true, so init_object_id cannot be given")]
    InitUnexpected(FlowId),
    #[error("Object {object_id} has init object {has:?}, not {given}")]
    InitConflict { object_id: ObjectId, has: Option<ObjectId>, given: ObjectId },
    #[error("Object {0} is an init object and cannot be used as media")]
    InitAsMedia(ObjectId),
    #[error("Object {0} is a media object and cannot be used as init object")]
    MediaAsInit(ObjectId),
}
