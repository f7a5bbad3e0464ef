//! A crash at every operation on the store of what goes on behind the requests: what was acknowledged is there
//! afterwards, with its bytes, and what is of no use any more goes in the end.
//!
//! A point is one operation of one kind of work, before it takes effect or after; from there on the store does nothing.
//! Of operations that are alike, such as the deletions of a thousand log entries, the first and the last are points.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;
use tokio::sync::watch;

use super::*;
use crate::catalog::fsck::{Scope, Severity, fsck};
use crate::catalog::progress::Silent;
use crate::catalog::tests::crash_store::CrashStore;
use crate::catalog::tests::helpers::{self, Chore, Log};
use crate::catalog::tests::hooks::{Hooked, Verb};
use crate::catalog::{Change, ReadError, SegmentKey, SegmentScan, Store, View};
use crate::domain::essence::MultiEssence;
use crate::domain::{Essence, Flow, FlowId, ObjectId, TimeRange, Timestamp, UtcTime};

const FLOWS: u8 = 3;
/// Its segments need an init object.
const WITH_INIT: u8 = 3;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Debug, Clone, Copy)]
enum Work {
    Chore(Chore),
    Delete,
    Collect,
}

impl Work {
    fn name(self) -> &'static str {
        match self {
            Self::Chore(Chore::Flush) => "flush",
            Self::Chore(Chore::Compact) => "compact",
            Self::Chore(Chore::Checkpoint) => "checkpoint",
            Self::Chore(Chore::Truncate) => "truncate",
            Self::Chore(Chore::DeleteRetired) => "delete retired",
            Self::Chore(Chore::DeleteOrphans) => "delete orphans",
            Self::Delete => "delete-work",
            Self::Collect => "collect",
        }
    }

    /// An error is what a crash looks like from inside.
    async fn run(self, world: &World) -> Result<(), String> {
        let stop = watch::Sender::new(false);
        match self {
            Self::Chore(chore) => {
                helpers::chore(chore, &world.log, &world.tams.catalog).await.map_err(|e| e.to_string())
            }
            Self::Delete => work_off_deletes(&world.tams, &stop.subscribe()).await.map_err(|e| e.to_string()),
            Self::Collect => collect_objects(&world.tams).await.map(drop).map_err(|e| e.to_string()),
        }
    }
}

/// What clients were told: Flow and second to Object and where in the Object it begins, in seconds.
type Oracle = BTreeMap<(u8, i32), (String, i32)>;

/// What lies on disk.
#[derive(Clone)]
struct Stored {
    files: BTreeMap<String, Bytes>,
    media: BTreeSet<String>,
    now: UtcTime,
}

impl Stored {
    async fn of(store: &dyn Store, media: &LocalMedia, now: UtcTime) -> Self {
        let mut files = BTreeMap::new();
        for path in store.list("").await.unwrap() {
            let bytes = store.read(&path).await.unwrap().unwrap();
            files.insert(path, bytes);
        }
        Self { files, media: keys(media), now }
    }
}

fn keys(media: &LocalMedia) -> BTreeSet<String> {
    media.list().map(|listed| listed.unwrap().key).collect()
}

/// A folder for media: making one takes long, so that processes which come after each other share it.
struct Disk {
    folder: TempDir,
    media: LocalMedia,
}

impl Disk {
    fn new() -> Arc<Self> {
        let folder = tempfile::tempdir().unwrap();
        let media = LocalMedia::open(folder.path().into()).unwrap();
        Arc::new(Self { folder, media })
    }

    fn path(&self, key: &str) -> PathBuf {
        self.folder.path().join("objects").join(&key[..2]).join(key)
    }

    fn put(&self, key: &str) {
        std::fs::write(self.path(key), key).unwrap();
    }

    fn set(&self, wanted: &BTreeSet<String>) {
        let found = keys(&self.media);
        found.difference(wanted).for_each(|key| std::fs::remove_file(self.path(key)).unwrap());
        wanted.difference(&found).for_each(|key| self.put(key));
    }
}

/// A process on a store.
struct World {
    store: Arc<CrashStore>,
    log: Log,
    tams: Tams,
    disk: Arc<Disk>,
}

impl World {
    async fn open(stored: &Stored, seed: u64, disk: Arc<Disk>) -> Self {
        let inner = helpers::memory();
        for (path, bytes) in &stored.files {
            inner.write(path, bytes.clone()).await.unwrap();
        }
        disk.set(&stored.media);
        let media = disk.media.clone();
        let store = CrashStore::new(inner);
        let clock = Clock::manual(stored.now, seed);
        let (catalog, log) = helpers::open_without_cache(store.clone(), clock.clone()).await.unwrap();
        let settings =
            Settings { object_timeout: DAY, storage_label: "local".into(), max_delete_segments: 2, min_free: 0 };
        let (collect, delete) = (Notify::new(), Notify::new());
        Self {
            store,
            log,
            tams: Tams { catalog, media, clock, settings, collect, delete, collecting: tokio::sync::Mutex::default() },
            disk,
        }
    }

    /// What a restart finds.
    async fn left(&self) -> Stored {
        Stored::of(&**self.store.inner(), &self.tams.media, self.tams.clock.now()).await
    }

    async fn allocate(&self, flow: u8, ids: &[String]) {
        let object_ids = Some(ids.iter().map(|id| id.parse().unwrap()).collect());
        let request = StorageRequest { object_ids, ..StorageRequest::default() };
        for object in allocate_storage(&self.tams, helpers::flow_id(flow), request).await.unwrap() {
            self.disk.put(&object.key);
        }
    }

    async fn register(&self, oracle: &mut Oracle, flow: u8, second: i32, object: &str, from: i32) {
        let request = SegmentRequest {
            object_id: object.parse().unwrap(),
            timerange: helpers::second(second),
            ts_offset: Timestamp::from_seconds(second - from),
            object_timerange: None,
            last_duration: None,
            sample_offset: None,
            sample_count: None,
            get_urls: None,
            key_frame_count: None,
            init_object_id: (flow == WITH_INIT).then(|| "init".parse().unwrap()),
        };
        let outcome = register_segments(&self.tams, helpers::flow_id(flow), vec![request]).await.unwrap();
        outcome.into_iter().for_each(|item| item.unwrap());
        oracle.insert((flow, second), (object.into(), from));
    }

    async fn delete(&self, oracle: &mut Oracle, flow: u8, seconds: Range<i32>) {
        let (start, end) = (Timestamp::from_seconds(seconds.start), Timestamp::from_seconds(seconds.end));
        let timerange = TimeRange::half_open(start, end);
        delete_segments(&self.tams, helpers::flow_id(flow), timerange, None).await.unwrap();
        oracle.retain(|(of, second), _| *of != flow || !seconds.contains(second));
    }

    async fn check(&self, oracle: &Oracle, when: &str) {
        let mut live = BTreeSet::new();
        for flow in 1..=FLOWS {
            let found = helpers::ask(&self.tams.catalog, |view| segments(view, helpers::flow_id(flow))).await;
            let expected: Vec<_> = oracle
                .range((flow, i32::MIN)..=(flow, i32::MAX))
                .map(|((_, second), (object, _))| (helpers::second(*second), object.clone()))
                .collect();
            let shown: Vec<_> = found.iter().map(|(range, object, _)| (*range, object.to_string())).collect();
            assert_eq!(shown, expected, "Flow {flow} {when}");
            for (_, object, keys) in found {
                assert!(!self.tams.catalog.snapshot().is_condemned(&object), "{object} is used and condemned {when}");
                live.insert(object);
                for key in keys {
                    assert!(self.tams.media.stat(&key).await.unwrap().is_some(), "bytes {key} are gone {when}");
                }
            }
        }
    }

    async fn fsck_is_clean(&self, when: &str) {
        let scope = Scope { level: 4, media: None, always_media: false };
        let (store, clock) = (self.store.inner().clone(), self.tams.clock.clone());
        let report = fsck(store, clock, &scope, &Silent).await.unwrap();
        let problem = report.findings.iter().find(|finding| finding.severity == Severity::Problem);
        assert!(problem.is_none(), "{problem:?} {when}");
    }

    /// Everything that would be done in some days.
    async fn tidy_up(&self) {
        for round in 0..4 {
            self.tams.clock.advance(2 * DAY);
            for work in [Work::Delete, Work::Collect, Work::Chore(Chore::Flush), Work::Chore(Chore::Compact)] {
                work.run(self).await.unwrap();
            }
            // Checkpoints are of different entries.
            let name = Some(format!("round {round}"));
            let service = crate::domain::ServiceInfo { name, ..self.tams.catalog.snapshot().service().clone() };
            helpers::put(&self.tams.catalog, vec![Change::PutService(Arc::new(service))]).await.unwrap();
            for chore in [Chore::Checkpoint, Chore::Truncate, Chore::DeleteRetired, Chore::DeleteOrphans] {
                Work::Chore(chore).run(self).await.unwrap();
            }
        }
    }

    async fn nothing_is_left_over(&self, oracle: &Oracle, ids: &BTreeSet<String>, when: &str) {
        let state = self.tams.catalog.snapshot();
        assert_eq!(state.objects_in_doubt(), 0, "suspects and condemned Objects {when}");
        assert!(state.next_deletion().is_none(), "{when}");
        let mut used: BTreeSet<String> = oracle.values().map(|(object, _)| object.clone()).collect();
        if oracle.keys().any(|(flow, _)| *flow == WITH_INIT) {
            used.insert("init".into());
        }
        let mut wanted = BTreeSet::new();
        for id in ids {
            let object: ObjectId = id.parse().unwrap();
            let row = helpers::ask(&self.tams.catalog, |view| view.object(&object)).await;
            assert_eq!(row.is_some(), used.contains(id), "the row of {id} {when}");
            wanted.extend(row.iter().flat_map(|row| row.kept_keys()).map(str::to_owned));
        }
        assert_eq!(keys(&self.tams.media), wanted, "bytes {when}");
        let known = helpers::known_files(&state);
        let found = self.store.inner().list("tables").await.unwrap();
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), known, "cold files {when}");
    }
}

type Found = (TimeRange, ObjectId, Vec<String>);

fn segments(view: View<'_>, flow_id: FlowId) -> Result<Vec<Found>, ReadError> {
    let scan = SegmentScan { flow_id, timerange: TimeRange::ETERNITY, reverse_order: false, after: None };
    let mut found = Vec::new();
    for segment in view.scan_segments(&scan) {
        let segment = segment?;
        let object = view.object_of(&segment)?.unwrap_or_else(|| panic!("{} is not there", segment.object_id));
        let init = segment.init_object.as_ref().map(|init| view.object(init)).transpose()?;
        let rows = [Some(object), init.map(|init| init.unwrap_or_else(|| panic!("the init object is not there")))];
        let keys = rows.iter().flatten().flat_map(|row| row.kept_keys()).map(str::to_owned).collect();
        found.push((segment.timerange, segment.object_id.clone(), keys));
    }
    Ok(found)
}

fn flow(n: u8) -> Change {
    let mut flow = helpers::flow(n, 1);
    flow.technical.container = Some("video/mp2t".parse().unwrap());
    if n == WITH_INIT {
        flow.technical.essence = Essence::Multi(Some(MultiEssence { init_segments: Some(true) }));
    }
    Change::PutFlow(Arc::new(Flow { ..flow }))
}

struct Test {
    seed: u64,
    world: World,
    /// For those that crash.
    scratch: Arc<Disk>,
    oracle: Oracle,
    ids: BTreeSet<String>,
    points: BTreeSet<String>,
    dice: StdRng,
}

impl Test {
    async fn new(seed: u64) -> Self {
        let nothing = Stored { files: BTreeMap::new(), media: BTreeSet::new(), now: helpers::start_of_time() };
        let world = World::open(&nothing, seed, Disk::new()).await;
        ensure_storage_id(&world.tams).await.unwrap();
        helpers::put(&world.tams.catalog, vec![helpers::put_source(1), flow(1), flow(2), flow(3)]).await.unwrap();
        let (oracle, ids, points) = (Oracle::new(), BTreeSet::new(), BTreeSet::new());
        let scratch = Disk::new();
        Self { seed, world, scratch, oracle, ids, points, dice: StdRng::seed_from_u64(seed) }
    }

    /// New Objects in free seconds from there on, some of them used again elsewhere, some never.
    async fn grow(&mut self, from: i32) {
        let fresh: Vec<String> = (0..6).map(|n| format!("object-{from}-{n}")).collect();
        for (n, id) in (0..).zip(&fresh) {
            let flow = self.dice.random_range(1..=FLOWS);
            if flow == WITH_INIT && self.ids.insert("init".into()) {
                self.world.allocate(flow, &["init".to_owned()]).await;
            }
            self.world.allocate(flow, std::slice::from_ref(id)).await;
            self.ids.insert(id.clone());
            let at = from + n;
            if self.dice.random_range(0..6) > 0 {
                self.world.register(&mut self.oracle, flow, at, id, at).await;
                if flow != WITH_INIT && self.dice.random() {
                    self.world.register(&mut self.oracle, 3 - flow, at + 500, id, at).await;
                }
            }
        }
    }

    /// At every point of it; then it is done.
    async fn crash(&mut self, work: Work) {
        let before = self.world.left().await;
        let seed = self.seed + 1_000;
        let watched = World::open(&before, seed, self.scratch.clone()).await;
        watched.store.arm(None);
        work.run(&watched).await.unwrap();
        for point in watched.store.points() {
            self.points.insert(format!("{}: {point}", work.name()));
            let when = format!("with seed {}, crash at {}: {point}", self.seed, work.name());
            let world = World::open(&before, seed, self.scratch.clone()).await;
            world.store.arm(Some(&point));
            // Some errors are only logged, and best effort swallows others.
            let _ = work.run(&world).await;
            assert!(world.store.is_dead(), "it was not reached {when}");
            let again = World::open(&world.left().await, seed + 1, self.scratch.clone()).await;
            again.check(&self.oracle, &when).await;
            again.fsck_is_clean(&when).await;
            again.tidy_up().await;
            again.check(&self.oracle, &format!("and days {when}")).await;
            again.fsck_is_clean(&format!("and days {when}")).await;
            again.nothing_is_left_over(&self.oracle, &self.ids, &when).await;
        }
        work.run(&self.world).await.unwrap();
    }

    async fn run(&mut self) {
        let chore = Work::Chore;
        self.grow(0).await;
        self.crash(chore(Chore::Flush)).await;
        self.grow(10).await;
        self.world.delete(&mut self.oracle, 1, 2..4).await;
        self.world.delete(&mut self.oracle, 2, 0..530).await;
        self.world.delete(&mut self.oracle, 1, 0..9).await;
        self.crash(Work::Delete).await;
        self.crash(Work::Collect).await;
        self.crash(chore(Chore::Flush)).await;
        self.grow(20).await;
        self.world.delete(&mut self.oracle, WITH_INIT, 0..15).await;
        self.world.delete(&mut self.oracle, 1, 0..12).await;
        Work::Delete.run(&self.world).await.unwrap();
        Work::Chore(Chore::Flush).run(&self.world).await.unwrap();
        self.crash(chore(Chore::Compact)).await;
        self.crash(Work::Collect).await;
        self.crash(chore(Chore::Checkpoint)).await;
        // Enough entries for a block of the log to go, which a checkpoint covers for long.
        while self.world.tams.catalog.snapshot().seq() < 1_010 {
            helpers::put(&self.world.tams.catalog, vec![flow(1)]).await.unwrap();
        }
        chore(Chore::Checkpoint).run(&self.world).await.unwrap();
        self.world.tams.clock.advance(2 * DAY);
        helpers::put(&self.world.tams.catalog, vec![flow(1)]).await.unwrap();
        chore(Chore::Checkpoint).run(&self.world).await.unwrap();
        self.world.tams.clock.advance(2 * DAY);
        helpers::put(&self.world.tams.catalog, vec![flow(1)]).await.unwrap();
        chore(Chore::Checkpoint).run(&self.world).await.unwrap();
        self.crash(chore(Chore::Truncate)).await;
        self.crash(chore(Chore::DeleteRetired)).await;
        let orphan = "tables/objects/data/1700000000-00000000.parquet";
        self.world.store.write(orphan, Bytes::from_static(b"nobody knows it")).await.unwrap();
        self.crash(chore(Chore::DeleteOrphans)).await;
        // All that is cold of a Flow, and the Flow.
        delete_flow(&self.world.tams, helpers::flow_id(2)).await.unwrap();
        self.oracle.retain(|(flow, _), _| *flow != 2);
        self.crash(Work::Delete).await;
        self.crash(Work::Collect).await;
    }
}

const EXPECTED: [&str; 34] = [
    "flush: write tables/flow_segments",
    "flush: write tables/objects",
    "flush: write tables/object_references",
    "flush: create log entry",
    "compact: read ranges of tables/flow_segments",
    "compact: read ranges of tables/objects",
    "compact: read ranges of tables/object_references",
    "compact: write tables/flow_segments",
    "compact: write tables/objects",
    "compact: write tables/object_references",
    "compact: create log entry",
    "checkpoint: write checkpoints/files",
    "checkpoint: write checkpoints/retired_files",
    "checkpoint: write checkpoints/cold_extents",
    "checkpoint: write checkpoints/flows",
    "checkpoint: write checkpoints/sources",
    "checkpoint: write checkpoints/service",
    "checkpoint: write checkpoints/objects",
    "checkpoint: write checkpoints/flow_delete_requests",
    "checkpoint: write checkpoints/manifest",
    "checkpoint: read checkpoints/manifest",
    "checkpoint: read checkpoints/files",
    "truncate: list log",
    "truncate: write floor mark",
    "truncate: delete log entry",
    "truncate: delete checkpoints/manifest",
    "truncate: delete checkpoints/files",
    "delete retired: delete tables/flow_segments",
    "delete retired: create log entry",
    "delete orphans: list tables",
    "delete orphans: delete tables/objects",
    "delete-work: read ranges of tables/flow_segments",
    "delete-work: create log entry",
    "collect: create log entry",
];

#[test]
fn a_crash_at_any_point_loses_nothing_that_was_acknowledged_and_leaves_nothing_for_ever() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let points = helpers::with_small_files(|| {
        runtime.block_on(async {
            let mut test = Test::new(1).await;
            test.run().await;
            test.points
        })
    });
    points.iter().for_each(|point| println!("{point}"));
    println!("{} points", points.len());
    for expected in EXPECTED.iter().flat_map(|name| [format!("{name}, before"), format!("{name}, after")]) {
        assert!(points.contains(&expected), "no crash at {expected:?}");
    }
}

/// Between the look at an Object's references and the verdict its last segment goes: it must be looked at again.
#[tokio::test]
async fn an_object_that_loses_its_last_reference_while_it_is_judged_is_collected_all_the_same() {
    let inner = helpers::memory();
    let catalog = Arc::new(Mutex::new(None::<Catalog>));
    let deletion = {
        let catalog = catalog.clone();
        move |verb, path: &str| {
            let judged = verb == Verb::Read && path.starts_with("tables/object_references");
            let catalog = if judged { catalog.lock().unwrap().take() } else { None };
            async move {
                if let Some(catalog) = catalog {
                    helpers::put(&catalog, vec![Change::DeleteSegment(key(1)), Change::SuspectObject(shared())])
                        .await
                        .unwrap();
                }
            }
            .boxed()
        }
    };
    let world = {
        let disk = Disk::new();
        let clock = Clock::manual(helpers::start_of_time(), 1);
        let hooked = Hooked::new(inner, deletion);
        let store = CrashStore::new(hooked);
        let (catalog, log) = helpers::open_without_cache(store.clone(), clock.clone()).await.unwrap();
        let settings =
            Settings { object_timeout: DAY, storage_label: "local".into(), max_delete_segments: 2, min_free: 0 };
        let (media, collect, delete) = (disk.media.clone(), Notify::new(), Notify::new());
        World {
            store,
            log,
            tams: Tams { catalog, media, clock, settings, collect, delete, collecting: tokio::sync::Mutex::default() },
            disk,
        }
    };
    let tams = &world.tams;
    let mut changes = vec![helpers::put_source(1), flow(1)];
    changes.extend(helpers::register(1, 0, "shared"));
    changes.push(helpers::put_segment(1, helpers::second(1), "shared"));
    helpers::put(&tams.catalog, changes).await.unwrap();
    helpers::chore(Chore::Flush, &world.log, &tams.catalog).await.unwrap();
    helpers::put(&tams.catalog, vec![Change::DeleteSegment(key(0)), Change::SuspectObject(shared())]).await.unwrap();
    *catalog.lock().unwrap() = Some(tams.catalog.clone());
    collect_objects(tams).await.unwrap();
    assert!(catalog.lock().unwrap().is_none(), "nobody deleted anything meanwhile");
    let row = helpers::ask(&tams.catalog, |view| view.object(&shared())).await;
    assert_eq!((row, tams.catalog.snapshot().objects_in_doubt()), (None, 0), "it stays for ever");
}

fn shared() -> ObjectId {
    helpers::object_id("shared")
}

fn key(second: i32) -> SegmentKey {
    SegmentKey { flow_id: helpers::flow_id(1), start: helpers::second(second).start_key() }
}
