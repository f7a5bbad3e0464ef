//! A data folder that an earlier version left, with cold files, log entries, a checkpoint and published tables: this
//! version goes on with it, and columns that came since are null in what it finds there.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::golden::{folder, regenerate};
use super::helpers::{
    clock, flow_id, local, media, object_id, open_with, put, put_flow, put_object, put_source, register, second,
    settings,
};
use crate::catalog::log::Log;
use crate::catalog::publish::PublishSettings;
use crate::catalog::publishing::Tables;
use crate::catalog::{Catalog, CatalogSettings, Change, checkpoint, flush};
use crate::domain::{MediaObject, ObjectKind};

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

    async fn publish(&mut self) {
        let at_rest = flush::flush(&self.log, &self.catalog).await.unwrap().unwrap();
        self.tables.publish(&at_rest).await.unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
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
fn golden() -> PathBuf {
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
    opened.put(vec![put_object(MediaObject { kind: Some(ObjectKind::Init), timerange: None, ..media("init", 1) })]).await;
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
