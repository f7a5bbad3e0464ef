//! Published tables against what the catalogue itself shows: over random histories, restarts, and publishing that is cut
//! short; old versions, secrets, and files that readers may still need.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::{Int32Type, Int64Type};
use bytes::Bytes;
use deltalake::logstore::LogStoreRef;

use super::crash_store::CrashStore;
use super::helpers::{
    ask, clock, flow_id, known_files, local, media, memory, object_id, open_with, put, put_flow, put_object,
    put_segment, put_source, range, register, second, settings, start_of_time, with_small_files,
};
use crate::catalog::fsck::{Scope, Severity, fsck};
use crate::catalog::log::Log;
use crate::catalog::progress::Silent;
use crate::catalog::publish::{PublishSettings, deletion_vector, read_back};
use crate::catalog::publishing::{Publication, Tables};
use crate::catalog::{
    Catalog, CatalogSettings, Change, MaintenanceError, SegmentScan, Store, checkpoint, compact, flush, paths,
};
use crate::domain::{
    DeleteRequest, DeleteRequestId, DeleteStatus, Dialect, EventPlace, MediaObject, Secret, TimeRange, Timestamp,
    Webhook, WebhookId, WebhookStatus,
};

const FLOWS: u8 = 3;
/// Versions of a Delta table from one Delta checkpoint to the next.
const CHECKPOINT_INTERVAL: u64 = 5;

/// A catalogue in a folder, with the publisher that its thread would have.
struct Published {
    folder: tempfile::TempDir,
    catalog: Catalog,
    log: Log,
    tables: Tables,
    starts: u64,
}

impl Published {
    async fn new() -> Self {
        Self::open(tempfile::tempdir().unwrap(), 1).await
    }

    async fn open(folder: tempfile::TempDir, starts: u64) -> Self {
        Self::on(local(&folder), folder, starts).await
    }

    async fn on(store: Arc<dyn Store>, folder: tempfile::TempDir, starts: u64) -> Self {
        let settings = CatalogSettings { publish_interval: Duration::ZERO, ..settings() };
        let (catalog, log) = open_with(store, clock(starts), settings).await.unwrap();
        let settings = PublishSettings { checkpoint_interval: CHECKPOINT_INTERVAL, ..PublishSettings::default() };
        let (cache, needed) = (catalog.shared.cache.clone(), catalog.shared.needed.clone());
        let tables = Tables::open_with(&log, cache, &settings, needed).unwrap();
        Self { folder, catalog, log, tables, starts }
    }

    async fn restart(self) -> Self {
        self.catalog.close().await;
        drop(self.tables);
        Self::open(self.folder, self.starts + 1).await
    }

    async fn put(&self, changes: Vec<Change>) {
        put(&self.catalog, changes).await.unwrap();
    }

    async fn flush(&self) {
        flush::flush(&self.log, &self.catalog).await.unwrap().unwrap();
    }

    async fn publish(&mut self) -> Result<Publication, MaintenanceError> {
        let at_rest = flush::flush(&self.log, &self.catalog).await?.unwrap();
        self.tables.publish(&at_rest).await
    }

    fn table(&self, name: &str) -> PathBuf {
        self.folder.path().join("tables").join(name)
    }

    fn delta(&self, name: &str) -> LogStoreRef {
        self.log.store.delta_log(name).unwrap().unwrap()
    }

    /// Flow, start and Object of all segments that the catalogue shows.
    async fn segments(&self) -> BTreeSet<(String, i64, String)> {
        let mut all = BTreeSet::new();
        for n in 0..FLOWS {
            let scan =
                SegmentScan { flow_id: flow_id(n), timerange: TimeRange::ETERNITY, reverse_order: false, after: None };
            let found = ask(&self.catalog, |view| view.scan_segments(&scan).collect::<Result<Vec<_>, _>>());
            for segment in found.await {
                let start = segment.timerange.start().unwrap().at.to_parts().0;
                all.insert((segment.flow_id.to_string(), start, segment.object_id.to_string()));
            }
        }
        all
    }

    /// Of these Objects the ones that the catalogue shows, each with its count of key frames.
    async fn objects(&self, ids: &BTreeSet<String>) -> BTreeMap<String, Option<i64>> {
        let mut shown = BTreeMap::new();
        for id in ids {
            let object = ask(&self.catalog, |view| {
                let object = view.object(&object_id(id))?;
                Ok(object.filter(|object| object.is_registered() && !view.is_condemned(&object.id)))
            });
            if let Some(object) = object.await {
                shown.insert(id.clone(), object.key_frame_count);
            }
        }
        shown
    }

    async fn published_segments(&self, version: Option<u64>) -> BTreeSet<(String, i64, String)> {
        let mut all = BTreeSet::new();
        for batch in read_back::rows(&self.delta("flow_segments"), version).await {
            let flows = batch["flow_id"].as_string::<i32>();
            let starts = batch["start_seconds"].as_primitive::<Int64Type>();
            assert!(batch["start_nanoseconds"].as_primitive::<Int32Type>().values().iter().all(|n| *n == 0));
            let objects = batch["object_id"].as_string::<i32>();
            for row in 0..batch.num_rows() {
                let segment = (flows.value(row).to_owned(), starts.value(row), objects.value(row).to_owned());
                assert!(all.insert(segment.clone()), "{segment:?} is there twice");
            }
        }
        all
    }

    async fn published_objects(&self, version: Option<u64>) -> BTreeMap<String, Option<i64>> {
        let mut all = BTreeMap::new();
        for batch in read_back::rows(&self.delta("objects"), version).await {
            let ids = batch["id"].as_string::<i32>();
            let counts = batch["key_frame_count"].as_primitive::<Int64Type>();
            for row in 0..batch.num_rows() {
                let before = all.insert(ids.value(row).to_owned(), counts.iter().nth(row).unwrap());
                assert_eq!(before, None, "{} is there twice", ids.value(row));
            }
        }
        all
    }
}

fn request(flow: u8, remaining: TimeRange, status: DeleteStatus) -> Change {
    Change::PutDeleteRequest(Arc::new(DeleteRequest {
        id: DeleteRequestId::from_random([flow; 16]),
        flow_id: flow_id(flow),
        timerange_to_delete: remaining,
        timerange_remaining: if status == DeleteStatus::Done { TimeRange::NEVER } else { remaining },
        delete_flow: false,
        status,
        created: start_of_time(),
        created_by: None,
        updated: start_of_time(),
        expiry: None,
        object_id: None,
    }))
}

/// The same numbers for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from((self.0 >> 33) % u64::from(n)).unwrap()
    }

    fn flow(&mut self) -> u8 {
        u8::try_from(self.below(FLOWS.into())).unwrap()
    }
}

fn seconds(from: i32, to: i32) -> TimeRange {
    TimeRange::half_open(Timestamp::from_seconds(from), Timestamp::from_seconds(to))
}

async fn random_history(seed: u64) {
    let mut dice = Dice(seed);
    let mut published = Published::new().await;
    published.put((0..FLOWS).flat_map(|n| [put_source(n), put_flow(n, n)]).collect()).await;
    let mut ids = BTreeSet::new();
    let mut next_at = [0; FLOWS as usize];
    let mut versions = Vec::new();
    for step in 0..120 {
        let flow = dice.flow();
        match dice.below(12) {
            0..=3 => {
                let mut changes = Vec::new();
                for _ in 0..=dice.below(6) {
                    let at = &mut next_at[usize::from(flow)];
                    let id = format!("{flow}-{at}");
                    changes.extend(register(flow, *at, &id));
                    ids.insert(id);
                    *at += 1;
                }
                published.put(changes).await;
            }
            4 | 5 => {
                let from = i32::try_from(dice.below(30)).unwrap();
                let timerange = seconds(from, from + 1 + i32::try_from(dice.below(6)).unwrap());
                published.put(vec![Change::DeleteSegmentsWithin { flow_id: flow_id(flow), timerange }]).await;
            }
            6 | 7 => {
                // A newer row of an Object, or its end.
                let there: Vec<String> = published.objects(&ids).await.into_keys().collect();
                let Some(id) = there.get(dice.below(64) as usize) else { continue };
                let first_flow = id.split('-').next().unwrap().parse().unwrap();
                let object = MediaObject { key_frame_count: Some(step), ..media(id, first_flow) };
                let used = published.segments().await.iter().any(|(_, _, object)| object == id);
                let place = object.place();
                published
                    .put(match dice.below(3) {
                        0 if !used => vec![Change::CondemnObject(object_id(id))],
                        1 if !used => {
                            vec![Change::CondemnObject(object_id(id)), Change::DeleteObject(object_id(id), place)]
                        }
                        _ => vec![put_object(object)],
                    })
                    .await;
            }
            8 => published.flush().await,
            9 => drop(compact::compact_all(&published.log, &published.catalog).await.unwrap()),
            10 => {
                let covered = seconds(0, i32::try_from(dice.below(20)).unwrap() + 1);
                published.put(vec![request(flow, covered, DeleteStatus::Started)]).await;
                published.publish().await.unwrap();
                assert_eq!(published.published_segments(None).await, published.segments().await, "seed {seed}, {step}");
                let rows = Change::DeleteSegmentsWithin { flow_id: flow_id(flow), timerange: covered };
                published.put(vec![rows, request(flow, covered, DeleteStatus::Done)]).await;
            }
            _ => {
                if dice.below(3) == 0 {
                    published = published.restart().await;
                }
                let publication = published.publish().await.unwrap();
                let (segments, objects) = (published.segments().await, published.objects(&ids).await);
                assert_eq!(published.published_segments(None).await, segments, "seed {seed}, step {step}");
                assert_eq!(published.published_objects(None).await, objects, "seed {seed}, step {step}");
                versions.push((publication.versions, segments, objects));
            }
        }
    }
    for (versions, segments, objects) in versions {
        assert_eq!(published.published_segments(versions.get("flow_segments").copied()).await, segments, "seed {seed}");
        assert_eq!(published.published_objects(versions.get("objects").copied()).await, objects, "seed {seed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_tables_show_what_the_catalogue_shows_whatever_happened_and_so_do_old_versions() {
    for seed in 0..12 {
        random_history(seed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_is_published_once_over_restarts_and_when_flushed_files_were_not_published() {
    let mut published = Published::new().await;
    published.put(vec![put_source(1), put_flow(1, 1)]).await;
    published.put(register(1, 0, "zero")).await;
    published.publish().await.unwrap();
    let settled = published.publish().await.unwrap();
    published = published.restart().await;
    assert_eq!(published.publish().await.unwrap().versions, settled.versions, "nothing changed");

    // Killed after the rows went to files, before the Delta commit.
    published.put(register(1, 1, "one")).await;
    published.flush().await;
    published = published.restart().await;
    let after = published.publish().await.unwrap();
    assert_eq!(after.versions["flow_segments"], settled.versions["flow_segments"] + 1);
    assert_eq!(after.versions["webhooks"], settled.versions["webhooks"], "no webhook changed");
    assert_eq!(published.published_segments(None).await, published.segments().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_that_stops_between_two_tables_goes_on_where_it_stopped() {
    let mut published = Published::new().await;
    published.put(vec![put_source(1), put_flow(1, 1)]).await;
    published.put(register(1, 0, "zero")).await;
    // The table of Flows comes after those of segments and Objects.
    std::fs::create_dir_all(published.table("flows")).unwrap();
    let in_the_way = published.table("flows").join("_delta_log");
    std::fs::write(&in_the_way, "no folder").unwrap();
    published.publish().await.unwrap_err();
    assert_eq!(published.published_segments(None).await, published.segments().await);
    let (version, _) = read_back::describe(&published.delta("flow_segments")).await.unwrap();

    std::fs::remove_file(&in_the_way).unwrap();
    published = published.restart().await;
    let publication = published.publish().await.unwrap();
    assert_eq!(publication.versions["flow_segments"], version, "its rows were shown already");
    let flows: usize =
        read_back::rows(&published.delta("flows"), None).await.iter().map(|batch| batch.num_rows()).sum();
    assert_eq!(flows, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_secret_of_a_webhook_is_not_published() {
    let mut published = Published::new().await;
    let secret = "sesame-5c1f";
    let webhook = Webhook {
        id: WebhookId::from_random([1; 16]),
        url: "https://hook.example.com/here".into(),
        api_key_name: Some("X-Key".into()),
        api_key_value: Some(Secret::new(secret.into())),
        events: Vec::new(),
        flow_ids: None,
        source_ids: None,
        flow_collected_by_ids: None,
        source_collected_by_ids: None,
        accept_get_urls: None,
        accept_storage_ids: None,
        presigned: None,
        verbose_storage: None,
        include_object_timerange: None,
        dialect: Dialect::default(),
        tags: BTreeMap::new(),
        status: WebhookStatus::Created,
        error: None,
        created: start_of_time(),
        delivered: EventPlace { seq: 0, index: 0 },
    };
    published.put(vec![Change::PutWebhook(Arc::new(webhook))]).await;
    published.publish().await.unwrap();
    let (_, columns) = read_back::describe(&published.delta("webhooks")).await.unwrap();
    assert!(columns.contains(&"api_key_name".to_owned()) && !columns.contains(&"api_key_value".to_owned()));
    let rows = read_back::rows(&published.delta("webhooks"), None).await;
    assert_eq!(rows.iter().map(|batch| batch.num_rows()).sum::<usize>(), 1);
    for batch in &rows {
        let text = format!("{batch:?}");
        assert!(text.contains("hook.example.com") && !text.contains(secret), "{text}");
        assert!(batch.column_by_name("api_key_value").is_none());
    }
    for file in files_below(&published.folder.path().join("tables")) {
        let bytes = std::fs::read(&file).unwrap();
        assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()), "{}", file.display());
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files_below(&path)) } else { found.push(path) }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn files_stay_as_long_as_readers_of_an_old_version_may_need_them() {
    let mut published = Published::new().await;
    published.put(vec![put_source(1), put_flow(1, 1)]).await;
    published.put(register(1, 0, "zero")).await;
    let first = published.publish().await.unwrap();
    let shown = published.segments().await;
    published.put(register(1, 1, "one")).await;
    published.put(vec![Change::DeleteSegmentsWithin { flow_id: flow_id(1), timerange: range("[0:0_1:0)") }]).await;
    published.publish().await.unwrap();
    assert!(compact::compact_all(&published.log, &published.catalog).await.unwrap() > 0);
    published.publish().await.unwrap();
    checkpoint::write(&published.log, &published.catalog.snapshot()).await.unwrap();
    let retired: Vec<String> = published.catalog.snapshot().retired.keys().cloned().collect();
    let of_readers = |path: &&String| !path.contains("object_references");
    let needed: Vec<&String> = retired.iter().filter(of_readers).collect();
    assert!(!needed.is_empty() && needed.len() < retired.len());

    // After a start it is not known who needs what, so that all stays.
    published = published.restart().await;
    assert_eq!(compact::delete_retired(&published.log, &published.catalog, Duration::ZERO).await.unwrap(), 0);
    // Then only what no reader ever saw goes. (By the test's clock the Delta log is from the future.)
    published.publish().await.unwrap();
    let gone = compact::delete_retired(&published.log, &published.catalog, Duration::ZERO).await.unwrap();
    assert_eq!(usize::try_from(gone).unwrap(), retired.len() - needed.len());
    assert_eq!(published.published_segments(first.versions.get("flow_segments").copied()).await, shown);

    // A version that has been old for long enough cannot be read any more.
    published.log.clock.advance(Duration::from_secs(50 * 365 * 24 * 60 * 60));
    published.put(vec![put_source(2)]).await;
    published.publish().await.unwrap();
    let of_sources = std::fs::read_dir(published.table("sources").join("data")).unwrap().count();
    assert_eq!(of_sources, 2, "those before this version went when it was not there yet");
    let gone = compact::delete_retired(&published.log, &published.catalog, Duration::ZERO).await.unwrap();
    assert_eq!(usize::try_from(gone).unwrap(), needed.len());
    assert_eq!(published.published_segments(None).await, published.segments().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_that_share_an_object_and_one_that_was_there_before_are_all_shown() {
    let mut published = Published::new().await;
    published.put(vec![put_source(1), put_flow(1, 1), put_flow(2, 1)]).await;
    published.put(register(1, 0, "shared")).await;
    published.flush().await;
    published.put(vec![put_segment(2, second(7), "shared")]).await;
    published.put(vec![Change::DeleteSegmentsWithin { flow_id: flow_id(1), timerange: second(0) }]).await;
    published.put(vec![put_segment(1, second(0), "shared")]).await;
    published.publish().await.unwrap();
    let shown = published.segments().await;
    assert_eq!(shown.len(), 2);
    assert_eq!(published.published_segments(None).await, shown);
}

/// A catalogue in memory, as long as it does not crash.
async fn crashing(files: &BTreeMap<String, Bytes>, age: Duration, starts: u64) -> (Arc<CrashStore>, Published) {
    let inner = memory();
    for (path, bytes) in files {
        inner.write(path, bytes.clone()).await.unwrap();
    }
    let store = CrashStore::exclusive(inner);
    let published = Published::on(store.clone(), tempfile::tempdir().unwrap(), starts).await;
    published.log.clock.advance(age);
    (store, published)
}

async fn files_of(store: &CrashStore) -> BTreeMap<String, Bytes> {
    let mut files = BTreeMap::new();
    for path in store.inner().list("").await.unwrap() {
        let bytes = store.inner().read(&path).await.unwrap().unwrap();
        files.insert(path, bytes);
    }
    files
}

/// What the published tables show, and which Objects there may be.
#[derive(Debug, Clone, Default, PartialEq)]
struct Shown {
    segments: BTreeSet<(String, i64, String)>,
    objects: BTreeMap<String, Option<i64>>,
}

impl Published {
    async fn shown_by_the_catalogue(&self, ids: &BTreeSet<String>) -> Shown {
        Shown { segments: self.segments().await, objects: self.objects(ids).await }
    }

    /// Of a table that is not there yet: nothing.
    async fn shown_by_the_tables(&self) -> Shown {
        let mut shown = Shown::default();
        if read_back::describe(&self.delta("flow_segments")).await.is_some() {
            shown.segments = self.published_segments(None).await;
        }
        if read_back::describe(&self.delta("objects")).await.is_some() {
            shown.objects = self.published_objects(None).await;
        }
        shown
    }

    /// Each version shows a later log entry than the one before it.
    async fn nothing_was_published_twice(&self, when: &str) {
        for table in ["flow_segments", "objects", "flows", "sources", "service"] {
            let delta = self.delta(table);
            let Some((newest, _)) = read_back::describe(&delta).await else { panic!("no {table} {when}") };
            let mut before = 0;
            for version in newest.saturating_sub(3)..=newest {
                let seq = read_back::seq(&delta, version).await;
                assert!(seq > before, "version {version} of {table} shows entry {seq} again {when}");
                before = seq;
            }
        }
    }

    /// Long after, all that no reader can need is gone.
    async fn nothing_is_left_over(&mut self, when: &str) {
        checkpoint::write(&self.log, &self.catalog.snapshot()).await.unwrap();
        for n in [100, 101] {
            self.log.clock.advance(Duration::from_secs(50 * 365 * 24 * 60 * 60));
            self.put(vec![put_source(n)]).await;
            self.publish().await.unwrap();
            compact::delete_retired(&self.log, &self.catalog, Duration::ZERO).await.unwrap();
            compact::delete_orphans(&self.log, &self.catalog).await.unwrap();
        }
        let mut wanted = known_files(&self.catalog.snapshot());
        for table in ["flow_segments", "objects", "flows", "sources", "service"] {
            let files = read_back::files(&self.delta(table)).await;
            wanted.extend(files.into_iter().map(|file| format!("tables/{table}/{file}")));
        }
        // Those of the version before are deleted when the next is published; the search for orphans writes that row again.
        let gone_next = |path: &String| ["sources", "service"].iter().any(|table| path.contains(table));
        let found: BTreeSet<String> = self.log.store.list("tables").await.unwrap().into_iter().collect();
        let found: BTreeSet<_> =
            found.into_iter().filter(|path| !paths::is_of_delta_log(path) && !gone_next(path)).collect();
        wanted.retain(|path| !gone_next(path));
        assert_eq!(found, wanted, "files {when}");
    }
}

/// A crash at every operation of publishing what is there, which is then published.
async fn crash_at_every_point(
    published: &mut Published,
    store: &CrashStore,
    ids: &BTreeSet<String>,
    points: &mut BTreeSet<String>,
) {
    let before = published.shown_by_the_tables().await;
    let files = files_of(store).await;
    let age = (published.log.clock.now() - start_of_time()).to_std().unwrap();
    let expected = published.shown_by_the_catalogue(ids).await;
    let (watched, mut to_the_end) = crashing(&files, age, 70).await;
    watched.arm(None);
    to_the_end.publish().await.unwrap();
    for point in watched.points() {
        points.insert(point.to_string());
        let when = format!("after a crash at {point}");
        let (crashed, mut process) = crashing(&files, age, 70).await;
        crashed.arm(Some(&point));
        let _ = process.publish().await;
        assert!(crashed.is_dead(), "not reached: {point}");
        drop(process);

        let (again, mut process) = crashing(&files_of(&crashed).await, age, 71).await;
        assert_eq!(process.shown_by_the_catalogue(ids).await, expected, "{when}");
        let shown = process.shown_by_the_tables().await;
        assert!([&before.segments, &expected.segments].contains(&&shown.segments), "{shown:?} {when}");
        assert!([&before.objects, &expected.objects].contains(&&shown.objects), "{shown:?} {when}");
        let first = process.publish().await.unwrap();
        assert_eq!(process.shown_by_the_tables().await, expected, "published {when}");
        process.nothing_was_published_twice(&when).await;
        assert_eq!(process.publish().await.unwrap().versions, first.versions, "{when}");
        let scope = Scope { level: 4, media: None, always_media: false };
        let report = fsck(again.inner().clone(), process.log.clock.clone(), &scope, &Silent).await.unwrap();
        let wrong = report.findings.iter().find(|finding| finding.severity == Severity::Problem);
        assert!(wrong.is_none(), "{wrong:?} {when}");
        process.nothing_is_left_over(&when).await;
    }
    published.publish().await.unwrap();
}

const POINTS_OF_PUBLISHING: [&str; 17] = [
    "write tables/flow_segments",
    "write tables/objects",
    "create log entry",
    "put Delta commit of flow_segments",
    "put Delta commit of objects",
    "put Delta commit of flows",
    "put Delta commit of sources",
    "put Delta commit of service",
    "write tables/flows",
    "write tables/sources",
    "write tables/service",
    "put deletion vector of flow_segments",
    "put deletion vector of objects",
    "put Delta checkpoint",
    "put Delta log _last_checkpoint",
    "delete tables/flows",
    "delete deletion vector of objects",
];

#[test]
fn a_crash_at_any_point_of_publishing_is_made_good_and_publishes_nothing_twice() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let points = with_small_files(|| {
        runtime.block_on(async {
            // As it is with many dead rows.
            deletion_vector::NONE_INLINE.set(true);
            let (mut ids, mut points) = (BTreeSet::new(), BTreeSet::new());
            let (store, mut published) = crashing(&BTreeMap::new(), Duration::ZERO, 1).await;
            let mut crash = async |published: &mut Published, ids: &BTreeSet<String>| {
                crash_at_every_point(published, &store, ids, &mut points).await;
            };
            published.put(vec![put_source(1), put_flow(1, 1), put_flow(2, 1)]).await;
            for second in 0..5 {
                published.put(register(1, second, &format!("1-{second}"))).await;
                ids.insert(format!("1-{second}"));
            }
            crash(&mut published, &ids).await;

            // Rows that go, and a newer one.
            let mut deleted = vec![Change::DeleteSegmentsWithin { flow_id: flow_id(1), timerange: seconds(1, 3) }];
            deleted.extend(["1-1", "1-2"].map(|id| Change::SuspectObject(object_id(id))));
            published.put(deleted).await;
            published.put(vec![put_object(MediaObject { key_frame_count: Some(7), ..media("1-0", 1) })]).await;
            published.put(register(2, 0, "2-0")).await;
            ids.insert("2-0".into());
            crash(&mut published, &ids).await;

            // Files that go, and later others that no reader needs any more.
            assert!(compact::compact_all(&published.log, &published.catalog).await.unwrap() > 0);
            published.log.clock.advance(Duration::from_secs(100 * 365 * 24 * 60 * 60));
            published.put(vec![put_flow(2, 1)]).await;
            crash(&mut published, &ids).await;
            while read_back::describe(&published.delta("flow_segments")).await.unwrap().0 % CHECKPOINT_INTERVAL < 4 {
                let second = i32::try_from(ids.len()).unwrap();
                published.put(register(2, second, &format!("2-{second}"))).await;
                ids.insert(format!("2-{second}"));
                published.publish().await.unwrap();
            }
            published.put(register(2, 900, "last")).await;
            ids.insert("last".into());
            crash(&mut published, &ids).await;
            points
        })
    });
    points.iter().for_each(|point| println!("{point}"));
    println!("{} points", points.len());
    for expected in POINTS_OF_PUBLISHING.iter().flat_map(|name| [format!("{name}, before"), format!("{name}, after")]) {
        assert!(points.contains(&expected), "no crash at {expected:?}");
    }
}
