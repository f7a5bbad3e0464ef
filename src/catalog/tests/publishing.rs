//! Published tables against what the catalogue itself shows: over random histories, restarts, and publishing that is cut
//! short; old versions, secrets, and files that readers may still need.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::{Int32Type, Int64Type};

use super::helpers::{
    ask, clock, flow_id, local, media, object_id, open_with, put, put_flow, put_object, put_segment, put_source, range,
    register, second, settings, start_of_time,
};
use crate::catalog::log::Log;
use crate::catalog::publish::read_back;
use crate::catalog::publishing::{Publication, Tables};
use crate::catalog::{Catalog, CatalogSettings, Change, MaintenanceError, SegmentScan, checkpoint, compact, flush};
use crate::domain::{
    DeleteRequest, DeleteRequestId, DeleteStatus, Dialect, EventPlace, MediaObject, Secret, TimeRange, Timestamp,
    Webhook, WebhookId, WebhookStatus,
};

const FLOWS: u8 = 3;

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
        let settings = CatalogSettings { publish_interval: Duration::ZERO, ..settings() };
        let (catalog, log) = open_with(local(&folder), clock(starts), settings.clone()).await.unwrap();
        let tables =
            Tables::open(&log, catalog.shared.cache.clone(), &settings, catalog.shared.needed.clone()).unwrap();
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
        for batch in read_back::rows(&self.table("flow_segments"), version).await {
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
        for batch in read_back::rows(&self.table("objects"), version).await {
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
    let (version, _) = read_back::describe(&published.table("flow_segments")).await;

    std::fs::remove_file(&in_the_way).unwrap();
    published = published.restart().await;
    let publication = published.publish().await.unwrap();
    assert_eq!(publication.versions["flow_segments"], version, "its rows were shown already");
    let flows: usize =
        read_back::rows(&published.table("flows"), None).await.iter().map(|batch| batch.num_rows()).sum();
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
    let (_, columns) = read_back::describe(&published.table("webhooks")).await;
    assert!(columns.contains(&"api_key_name".to_owned()) && !columns.contains(&"api_key_value".to_owned()));
    let rows = read_back::rows(&published.table("webhooks"), None).await;
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
    assert_eq!(compact::delete_retired(&published.log, &published.catalog).await.unwrap(), 0);
    // Then only what no reader ever saw goes. (By the test's clock the Delta log is from the future.)
    published.publish().await.unwrap();
    let gone = compact::delete_retired(&published.log, &published.catalog).await.unwrap();
    assert_eq!(usize::try_from(gone).unwrap(), retired.len() - needed.len());
    assert_eq!(published.published_segments(first.versions.get("flow_segments").copied()).await, shown);

    // A version that has been old for long enough cannot be read any more.
    published.log.clock.advance(Duration::from_secs(50 * 365 * 24 * 60 * 60));
    published.put(vec![put_source(2)]).await;
    published.publish().await.unwrap();
    let of_sources = std::fs::read_dir(published.table("sources").join("data")).unwrap().count();
    assert_eq!(of_sources, 2, "those before this version went when it was not there yet");
    let gone = compact::delete_retired(&published.log, &published.catalog).await.unwrap();
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
