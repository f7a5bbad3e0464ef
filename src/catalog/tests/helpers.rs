//! Builders that take only what a test is about, and catalogues that run on the test's own thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use object_store::memory::InMemory;

use crate::catalog::log::Log;
use crate::catalog::{
    Catalog, CatalogSettings, Change, CommitError, LocalStore, ObjectStoreStore, OpenError, State, Store,
};
use crate::clock::Clock;
use crate::domain::essence::MultiEssence;
use crate::domain::{
    Essence, Flow, FlowId, FlowSegment, MediaObject, ObjectId, ObjectKind, Source, SourceId, Technical, TimeRange,
    Timestamp, UtcTime,
};

pub fn start_of_time() -> UtcTime {
    UtcTime::from_timestamp(1_700_000_000, 0).unwrap()
}

/// Writers need different seeds: the dice also make the ids of their log entries.
pub fn clock(seed: u64) -> Clock {
    Clock::manual(start_of_time(), seed)
}

/// No checkpoint unless the test makes one.
pub fn settings() -> CatalogSettings {
    CatalogSettings { checkpoint_entries: u64::MAX, checkpoint_bytes: u64::MAX, ..CatalogSettings::default() }
}

pub fn memory() -> Arc<dyn Store> {
    Arc::new(ObjectStoreStore::new(Arc::new(InMemory::new()), "memory".into()))
}

pub fn local(folder: &tempfile::TempDir) -> Arc<dyn Store> {
    Arc::new(LocalStore::open(folder.path().into()).unwrap())
}

/// A catalogue whose committer is a task of this runtime: on a single thread, runs repeat exactly.
pub async fn open(store: Arc<dyn Store>, clock: Clock) -> Result<(Catalog, Log), OpenError> {
    open_with(store, clock, settings()).await
}

pub async fn open_with(
    store: Arc<dyn Store>,
    clock: Clock,
    settings: CatalogSettings,
) -> Result<(Catalog, Log), OpenError> {
    let (catalog, mut committer) = Catalog::recover(store, clock, settings).await?;
    committer.log.resolve_pause = Duration::ZERO;
    let log = committer.log.clone();
    tokio::spawn(committer.run());
    Ok((catalog, log))
}

/// Commits what needs no decision.
pub async fn put(catalog: &Catalog, changes: Vec<Change>) -> Result<(), CommitError> {
    catalog.commit(64, move |_, _| Ok::<_, CommitError>((changes.clone(), ()))).await
}

pub fn source_id(n: u8) -> SourceId {
    SourceId::from_random([n; 16])
}

pub fn flow_id(n: u8) -> FlowId {
    FlowId::from_random([n; 16])
}

pub fn object_id(text: &str) -> ObjectId {
    text.parse().unwrap()
}

pub fn range(text: &str) -> TimeRange {
    text.parse().unwrap()
}

pub fn second(n: i32) -> TimeRange {
    TimeRange::half_open(Timestamp::from_seconds(n), Timestamp::from_seconds(n + 1))
}

pub fn source(n: u8) -> Source {
    let time = start_of_time();
    Source {
        id: source_id(n),
        format: Essence::Multi(None).format(),
        label: None,
        description: None,
        tags: BTreeMap::new(),
        created: time,
        created_by: None,
        updated: time,
        updated_by: None,
    }
}

pub fn flow(n: u8, source: u8) -> Flow {
    let time = start_of_time();
    Flow {
        id: flow_id(n),
        source_id: source_id(source),
        label: None,
        description: None,
        tags: BTreeMap::new(),
        generation: None,
        status: None,
        read_only: false,
        max_bit_rate: None,
        technical: Technical {
            codec: None,
            container: None,
            avg_bit_rate: None,
            segment_duration: None,
            container_mapping: None,
            essence: Essence::Multi(Some(MultiEssence { init_segments: None })),
        },
        profile_id: None,
        flow_collection: Vec::new(),
        metadata_version: "1".into(),
        created: time,
        created_by: None,
        metadata_updated: time,
        updated_by: None,
    }
}

/// Registered, and long enough for any segment.
pub fn media(id: &str, first_flow: u8) -> MediaObject {
    MediaObject {
        id: object_id(id),
        kind: Some(ObjectKind::Media),
        first_flow: flow_id(first_flow),
        timerange: Some(TimeRange::half_open(Timestamp::MIN, Timestamp::MAX)),
        key_frame_count: None,
        init_object: None,
        allocation: None,
        instances: Vec::new(),
        condemned_instances: Vec::new(),
        condemned: false,
        created: start_of_time(),
    }
}

pub fn segment(flow: u8, timerange: TimeRange, object: &str) -> FlowSegment {
    FlowSegment {
        flow_id: flow_id(flow),
        timerange,
        object_id: object_id(object),
        ts_offset: Timestamp::ZERO,
        last_duration: None,
        sample_offset: None,
        sample_count: None,
    }
}

pub fn put_source(n: u8) -> Change {
    Change::PutSource(Arc::new(source(n)))
}

pub fn put_flow(n: u8, source: u8) -> Change {
    Change::PutFlow(Arc::new(flow(n, source)))
}

pub fn put_object(object: MediaObject) -> Change {
    Change::PutObject(Arc::new(object))
}

pub fn put_segment(flow: u8, timerange: TimeRange, object: &str) -> Change {
    Change::PutSegment(Arc::new(segment(flow, timerange, object)))
}

/// A new object in a second of its own.
pub fn register(flow: u8, at: i32, object: &str) -> Vec<Change> {
    vec![put_object(media(object, flow)), put_segment(flow, second(at), object)]
}

/// Every table with its LSNs, and all that is derived from them.
pub fn assert_same(one: &State, other: &State, when: &str) {
    assert_eq!((one.seq, one.committed, one.hash), (other.seq, other.committed, other.hash), "place in the log {when}");
    assert_eq!(one.service, other.service, "service {when}");
    macro_rules! same {
        ($($field:ident),*) => {$(
            // Compared first, so that the usual case formats nothing.
            if one.$field != other.$field {
                assert_eq!(format!("{:#?}", one.$field), format!("{:#?}", other.$field), "{} {when}", stringify!($field));
            }
        )*};
    }
    same!(sources, flows, objects, segments, segments_updated);
    same!(flows_by_source, collectors, references, init_users, condemned, allocations);
    same!(with_condemned_instances, unfinished_deletions, profiles, delete_requests);
}

/// Keeps entries by their age alone.
pub fn keep(time: std::time::Duration) -> crate::catalog::checkpoint::Keep {
    crate::catalog::checkpoint::Keep { time, entries: u64::MAX, needed: u64::MAX }
}
