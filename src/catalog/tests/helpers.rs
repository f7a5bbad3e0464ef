//! Builders that take only what a test is about, and catalogues that run on the test's own thread.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use object_store::memory::InMemory;

pub use crate::catalog::log::Log;
use crate::catalog::{
    Catalog, CatalogSettings, Change, CommitError, LocalStore, MaintenanceError, ObjectStoreStore, OpenError,
    ReadError, State, Store, View, checkpoint, compact, flush,
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
    Arc::new(ObjectStoreStore::new(Arc::new(InMemory::new()), "memory:///catalog".parse().unwrap()))
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
    // Rows are flushed and files merged where a test says so.
    let (catalog, mut committer, _) = Catalog::recover(store, clock, settings).await?;
    committer.log.resolve_pause = Duration::ZERO;
    let log = committer.log.clone();
    tokio::spawn(committer.run());
    Ok((catalog, log))
}

/// Nothing of cold files stays in memory from one question to the next.
pub async fn open_without_cache(store: Arc<dyn Store>, clock: Clock) -> Result<(Catalog, Log), OpenError> {
    open_with(store, clock, CatalogSettings { index_cache_bytes: 0, page_cache_bytes: 0, ..settings() }).await
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What the catalogue does by itself, when a test says so.
#[derive(Debug, Clone, Copy)]
pub enum Chore {
    Flush,
    Compact,
    Checkpoint,
    /// Keeps a day.
    Truncate,
    /// After a day.
    DeleteRetired,
    DeleteOrphans,
}

pub async fn chore(chore: Chore, log: &Log, catalog: &Catalog) -> Result<(), MaintenanceError> {
    let state = catalog.snapshot();
    match chore {
        Chore::Flush => flush::flush(log, catalog).await.map(drop),
        Chore::Compact => compact::compact_all(log, catalog).await.map(drop),
        Chore::Checkpoint => Ok(checkpoint::write(log, &state).await?),
        Chore::Truncate => {
            let newest = checkpoint::newest(log).await?.unwrap();
            checkpoint::truncate(log, newest, keep(DAY)).await?;
            Ok(())
        }
        Chore::DeleteRetired => compact::delete_retired(log, catalog, DAY).await.map(drop),
        Chore::DeleteOrphans => compact::delete_orphans(log, catalog).await.map(drop),
    }
}

/// Paths of the cold files that somebody may still read.
pub fn known_files(state: &State) -> BTreeSet<String> {
    state.files.iter().map(|file| file.meta.path.clone()).chain(state.retired.keys().cloned()).collect()
}

/// A catalogue for tests of what stands on it: nothing is flushed or merged but where a test says so.
pub struct ByHand {
    pub catalog: Catalog,
    log: Log,
}

impl ByHand {
    pub async fn open(store: Arc<dyn Store>, clock: Clock) -> Self {
        let (catalog, log) = open(store, clock).await.unwrap();
        Self { catalog, log }
    }

    pub async fn flush(&self) {
        flush::flush(&self.log, &self.catalog).await.unwrap();
    }

    pub async fn compact(&self) {
        compact::compact_all(&self.log, &self.catalog).await.unwrap();
    }

    pub async fn checkpoint(&self) {
        checkpoint::write(&self.log, &self.catalog.snapshot()).await.unwrap();
    }
}

/// Commits what needs no decision.
pub async fn put(catalog: &Catalog, changes: Vec<Change>) -> Result<(), CommitError> {
    commit(catalog, move |_, _| Ok((changes.clone(), ()))).await
}

/// Commits what is decided without a reason to refuse it.
pub async fn commit<T: Send + 'static>(
    catalog: &Catalog,
    mut decide: impl FnMut(View<'_>, UtcTime) -> Result<(Vec<Change>, T), ReadError> + Send + 'static,
) -> Result<T, CommitError> {
    let decide = move |view: View<'_>, now| decide(view, now).map_err(MaintenanceError::from);
    catalog.commit(64, decide).await.map_err(|error| match error {
        MaintenanceError::Commit(error) => error,
        other => panic!("{other}"),
    })
}

/// Asks what is there in memory and in cold files.
pub async fn ask<T>(catalog: &Catalog, question: impl Fn(View<'_>) -> Result<T, ReadError>) -> T {
    catalog.ask_of(&catalog.snapshot(), question).await.unwrap()
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
        size_bytes: None,
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
        init_object: None,
        object_place: None,
        registered: None,
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
    same!(flows_by_source, collectors, references, suspects, condemned, allocations);
    same!(files, retired, flushed, tombstones, cold_extents);
    same!(with_condemned_instances, unfinished_deletions, profiles, delete_requests);
}

/// Runs it with cold files of a few rows, on this thread.
pub fn with_small_files<T>(run: impl FnOnce() -> T) -> T {
    struct Back;
    impl Drop for Back {
        fn drop(&mut self) {
            flush::SMALL_FILES.set(false);
        }
    }
    flush::SMALL_FILES.set(true);
    let _back = Back;
    run()
}

/// Keeps entries by their age alone.
pub fn keep(time: std::time::Duration) -> checkpoint::Keep {
    checkpoint::Keep { time, entries: u64::MAX, needed: u64::MAX }
}
