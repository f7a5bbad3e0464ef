//! A data folder that an earlier version left, with cold files, log entries, a checkpoint and published tables: this
//! version goes on with it, and columns that came since are null in what it finds there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{ArrowPrimitiveType, Int64Type, TimestampMicrosecondType};
use futures::TryStreamExt;

use super::golden::{folder, regenerate};
use super::helpers::{
    ask, clock, flow_id, local, media, object_id, open_with, put, put_flow, put_object, put_source, register, second,
    segment, settings, start_of_time,
};
use crate::catalog::fsck::{Scope, Severity, fsck};
use crate::catalog::log::Log;
use crate::catalog::progress::Silent;
use crate::catalog::publish::{PublishSettings, read_back};
use crate::catalog::publishing::Tables;
use crate::catalog::{Catalog, CatalogSettings, Change, ColdTable, SegmentScan, TableScan, checkpoint, compact, flush};
use crate::domain::{FlowSegment, MediaObject, ObjectKind, TimeRange};

/// A catalogue in a folder, with the publisher that its thread would have.
struct Opened {
    catalog: Catalog,
    log: Log,
    tables: Tables,
}

impl Opened {
    async fn of(folder: &tempfile::TempDir, seed: u64) -> Self {
        let settings = CatalogSettings { publish_interval: Duration::ZERO, ..settings() };
        let (catalog, log) = open_with(local(folder), clock(seed), settings).await.unwrap();
        let (cache, needed) = (catalog.shared.cache.clone(), catalog.shared.needed.clone());
        let tables = Tables::open_with(&log, cache, &PublishSettings::default(), needed).unwrap();
        Self { catalog, log, tables }
    }

    async fn put(&self, changes: Vec<Change>) {
        put(&self.catalog, changes).await.unwrap();
    }

    /// Sizes of Objects and times of segments, by Object: from the scan, and held against what is asked row by row.
    async fn shown(&self) -> [Shown; 2] {
        let state = self.catalog.snapshot();
        let scan = |table| self.catalog.scan(state.clone(), TableScan::of(table)).try_collect::<Vec<_>>();
        let objects = column::<Int64Type>(&scan(ColdTable::Objects).await.unwrap(), "id", "size_bytes");
        let segments = scan(ColdTable::FlowSegments).await.unwrap();
        let segments = column::<TimestampMicrosecondType>(&segments, "object_id", "registered");
        for (id, size) in &objects {
            let object = ask(&self.catalog, |view| view.object(&object_id(id))).await.unwrap();
            assert_eq!(object.size_bytes, *size, "{id}");
        }
        for flow_id in [1, 2].map(flow_id) {
            let scan = SegmentScan { flow_id, timerange: TimeRange::ETERNITY, reverse_order: false, after: None };
            for segment in ask(&self.catalog, |view| view.scan_segments(&scan).collect::<Result<Vec<_>, _>>()).await {
                let registered = segment.registered.map(|time| time.timestamp_micros());
                assert_eq!(segments[segment.object_id.as_str()], registered, "{segment:?}");
            }
        }
        [objects, segments]
    }

    /// The same, as a version of the published tables says it.
    async fn published(&self, version: Option<u64>) -> [Shown; 2] {
        let rows = async |table| read_back::rows(&self.log.store.delta_log(table).unwrap().unwrap(), version).await;
        let objects = column::<Int64Type>(&rows("objects").await, "id", "size_bytes");
        [objects, column::<TimestampMicrosecondType>(&rows("flow_segments").await, "object_id", "registered")]
    }

    async fn published_columns(&self, table: &str) -> Vec<String> {
        read_back::describe(&self.log.store.delta_log(table).unwrap().unwrap()).await.unwrap().1
    }

    async fn fsck_is_clean(&self) {
        let scope = Scope { level: 4, media: None, always_media: false };
        let report = fsck(self.log.store.clone(), self.log.clock.clone(), &scope, &Silent).await.unwrap();
        let problem = report.findings.iter().find(|finding| finding.severity == Severity::Problem);
        assert!(problem.is_none(), "{problem:?}");
    }

    async fn publish(&mut self) {
        let at_rest = flush::flush(&self.log, &self.catalog).await.unwrap().unwrap();
        self.tables.publish(&at_rest).await.unwrap();
    }
}

type Shown = BTreeMap<String, Option<i64>>;

/// A column by Object; null where a file does not have it.
fn column<T: ArrowPrimitiveType<Native = i64>>(batches: &[RecordBatch], id: &str, name: &str) -> Shown {
    let rows = batches.iter().flat_map(|batch| {
        let ids = batch[id].as_string::<i32>().iter().map(|id| id.unwrap().to_owned());
        let values: Vec<Option<i64>> = match batch.column_by_name(name) {
            Some(values) => values.as_primitive::<T>().iter().collect(),
            None => vec![None; batch.num_rows()],
        };
        assert_eq!(values.len(), batch.num_rows());
        ids.zip(values).collect::<Vec<_>>()
    });
    rows.collect()
}

pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// `flow_segments` of version 2 and `objects` of version 3.
pub fn golden() -> PathBuf {
    folder().join("folder-segments-v2-objects-v3")
}

/// Two publications, the second with rows that are dead and rows that are newer, a checkpoint, and a row after it.
#[tokio::test(flavor = "multi_thread")]
async fn the_folder_is_there() {
    if !regenerate() || golden().exists() {
        assert!(golden().exists());
        return;
    }
    let written = tempfile::tempdir().unwrap();
    let mut opened = Opened::of(&written, 1).await;
    opened.put(vec![put_source(1), put_flow(1, 1), put_flow(2, 1)]).await;
    opened
        .put(vec![put_object(MediaObject { kind: Some(ObjectKind::Init), timerange: None, ..media("init", 1) })])
        .await;
    for at in 0..4 {
        opened.put(register(1, at, &format!("cold-{at}"))).await;
    }
    opened.publish().await;
    let deleted = Change::DeleteSegmentsWithin { flow_id: flow_id(1), timerange: second(1) };
    opened.put(vec![deleted, Change::SuspectObject(object_id("cold-1"))]).await;
    opened.put(vec![put_object(MediaObject { key_frame_count: Some(7), ..media("cold-0", 1) })]).await;
    opened.put(register(2, 0, "later")).await;
    opened.publish().await;
    checkpoint::write(&opened.log, &opened.catalog.snapshot()).await.unwrap();
    opened.put(register(2, 1, "in-the-log")).await;
    opened.catalog.close().await;
    fs::remove_file(written.path().join("lock")).unwrap();
    copy(written.path(), &golden());
}

async fn golden_opened() -> (tempfile::TempDir, Opened) {
    let here = tempfile::tempdir().unwrap();
    copy(&golden(), here.path());
    let opened = Opened::of(&here, 2).await;
    // Nothing refers to it, and `fsck` wants to see that somebody is about to find that out.
    opened.put(vec![Change::SuspectObject(object_id("init"))]).await;
    (here, opened)
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_came_later_are_null_in_old_rows_and_published_tables_get_them() {
    let (here, mut opened) = golden_opened().await;
    let before = opened.shown().await;
    let [objects, segments] = &before;
    assert_eq!((objects.len(), segments.len()), (7, 5), "{before:?}");
    assert!(objects.values().chain(segments.values()).all(Option::is_none), "{before:?}");
    assert!(!opened.published_columns("objects").await.contains(&"size_bytes".to_owned()));

    let now = start_of_time() + Duration::from_secs(60);
    let object = MediaObject { size_bytes: Some(1_234), ..media("new", 2) };
    let new = FlowSegment { registered: Some(now), ..segment(2, second(2), "new") };
    opened.put(vec![put_object(object), Change::PutSegment(Arc::new(new))]).await;
    // A row of an old file gets a newer one that knows its size.
    opened.put(vec![put_object(MediaObject { size_bytes: Some(5), ..media("cold-2", 1) })]).await;
    let [mut objects, mut segments] = before.clone();
    objects.extend([("new".to_owned(), Some(1_234)), ("cold-2".to_owned(), Some(5))]);
    segments.insert("new".to_owned(), Some(now.timestamp_micros()));
    let expected = [objects, segments];
    assert_eq!(opened.shown().await, expected, "from memory and old files");

    opened.publish().await;
    assert_eq!(opened.shown().await, expected, "from old and new files");
    for (table, column) in [("objects", "size_bytes"), ("flow_segments", "registered")] {
        assert!(opened.published_columns(table).await.contains(&column.to_owned()), "{table}");
    }
    assert_eq!(opened.published(None).await, expected);
    assert_eq!(opened.published(Some(1)).await[1].len(), 4, "the version before stays");
    opened.fsck_is_clean().await;

    assert!(compact::compact_all(&opened.log, &opened.catalog).await.unwrap() > 0);
    assert_eq!(opened.shown().await, expected, "after old and new files were merged");
    opened.put(register(1, 100, "last")).await;
    opened.publish().await;
    assert_eq!(opened.published(None).await[0]["new"], Some(1_234));
    checkpoint::write(&opened.log, &opened.catalog.snapshot()).await.unwrap();
    opened.fsck_is_clean().await;
    opened.catalog.close().await;
    drop(opened);

    let opened = Opened::of(&here, 3).await;
    let [mut objects, mut segments] = expected;
    objects.insert("last".to_owned(), None);
    segments.insert("last".to_owned(), None);
    assert_eq!(opened.shown().await, [objects, segments], "after a restart");
}

#[tokio::test(flavor = "multi_thread")]
async fn old_files_alone_are_merged_into_files_of_today() {
    let (_here, opened) = golden_opened().await;
    let before = opened.shown().await;
    assert!(compact::compact_all(&opened.log, &opened.catalog).await.unwrap() > 0);
    assert_eq!(opened.shown().await, before);
    opened.fsck_is_clean().await;
}
