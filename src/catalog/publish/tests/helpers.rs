//! A folder with a table, a model of what it must show, and a store that counts and fails.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{AsArray, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use deltalake::logstore::{LogStoreRef, StorageConfig, logstore_with};
use deltalake::table::state::DeltaTableState;
use object_store::local::LocalFileSystem;
use uuid::Uuid;

use super::super::{Cut, CutFile, PublishSettings, Publisher, local_table, read_back, whole_table};
use crate::catalog::tests::watched_objects::{Fate, Watch, WatchedObjects};
use crate::domain::UtcTime;

pub const CATALOGUE: Uuid = Uuid::from_u128(7);

#[expect(clippy::disallowed_methods, reason = "compared with the times of files on the disk")]
pub fn now() -> UtcTime {
    chrono::Utc::now()
}

pub fn schema() -> SchemaRef {
    let described =
        |field: Field, text: &str| field.with_metadata([("description".to_owned(), text.to_owned())].into());
    let mut number = described(Field::new("n", DataType::Int64, false), "a number");
    let mut metadata = number.metadata().clone();
    metadata.insert("unit".to_owned(), "frames".to_owned());
    number.set_metadata(metadata);
    let fields = vec![number, described(Field::new("name", DataType::Utf8, true), "its name")];
    Arc::new(Schema::new_with_metadata(fields, [("description".to_owned(), "things of tests".to_owned())].into()))
}

pub fn batch(rows: Range<i64>) -> RecordBatch {
    let names: StringArray = rows.clone().map(|n| (n % 5 != 0).then(|| format!("name {n}"))).collect();
    RecordBatch::try_new(schema(), vec![Arc::new(Int64Array::from_iter_values(rows)), Arc::new(names)]).unwrap()
}

/// Files by name, with the first number that they hold.
#[derive(Debug, Default, Clone)]
pub struct Model {
    files: BTreeMap<String, (CutFile, i64)>,
}

impl Model {
    pub fn add(&mut self, folder: &Folder, name: &str, rows: Range<i64>) {
        let (mut file, bytes) = whole_table("things", &batch(rows.clone())).unwrap();
        file.path = format!("data/{name}.parquet");
        folder.put(&file.path, &bytes);
        self.files.insert(name.to_owned(), (file, rows.start));
    }

    pub fn kill(&mut self, name: &str, rows: impl IntoIterator<Item = u32>) {
        self.files.get_mut(name).unwrap().0.dead.extend(rows);
    }

    pub fn remove(&mut self, name: &str) {
        self.files.remove(name).unwrap();
    }

    pub fn names(&self) -> Vec<String> {
        self.files.keys().cloned().collect()
    }

    pub fn len(&self, name: &str) -> u32 {
        u32::try_from(self.files[name].0.rows).unwrap()
    }

    pub fn cut(&self, seq: u64) -> Cut {
        let files = self.files.values().map(|(file, _)| file.clone()).collect();
        Cut { seq, committed: now(), schema: schema(), files }
    }

    /// The numbers that the table must show, sorted.
    pub fn rows(&self) -> Vec<i64> {
        let rows = |(file, first): &(CutFile, i64)| {
            let dead = file.dead.clone();
            let first = *first;
            let rows = u32::try_from(file.rows).unwrap();
            (0..rows).filter(move |row| !dead.contains(*row)).map(move |row| first + i64::from(row))
        };
        let mut all: Vec<i64> = self.files.values().flat_map(rows).collect();
        all.sort_unstable();
        all
    }
}

pub struct Folder {
    folder: tempfile::TempDir,
    pub store: Arc<WatchedObjects<Faults>>,
}

impl Folder {
    pub fn new() -> Self {
        let store = WatchedObjects::new(Arc::new(LocalFileSystem::new()), Faults::default());
        Self { folder: tempfile::tempdir().unwrap(), store: Arc::new(store) }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn log_store(&self) -> LogStoreRef {
        let url = deltalake::ensure_table_uri(self.path().to_str().unwrap()).unwrap();
        logstore_with(self.store.clone(), &url, StorageConfig::default()).unwrap()
    }

    pub fn publisher(&self) -> Publisher {
        Publisher::new("things", CATALOGUE, self.log_store(), PublishSettings::default())
    }

    pub fn put(&self, path: &str, bytes: &Bytes) {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    pub fn exists(&self, path: &str) -> bool {
        self.path().join(path).exists()
    }

    pub async fn state(&self, version: Option<u64>) -> DeltaTableState {
        let log_store = local_table(self.path()).unwrap();
        DeltaTableState::try_new(&log_store, version).await.unwrap()
    }

    /// The numbers that the table shows, sorted.
    pub async fn rows(&self, version: Option<u64>) -> Vec<i64> {
        let shown = read_back::rows(&local_table(self.path()).unwrap(), version).await;
        let numbers = shown.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec());
        let mut all: Vec<i64> = numbers.collect();
        all.sort_unstable();
        all
    }
}

/// Counts, and on request fails the next reads, or puts of commits before or after they land.
#[derive(Debug, Default)]
pub struct Faults {
    pub listed: AtomicUsize,
    pub read: AtomicUsize,
    pub lose_answers: AtomicUsize,
    pub refuse_commits: AtomicUsize,
    pub refuse_reads: AtomicUsize,
}

fn due(count: &AtomicUsize) -> bool {
    count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

impl Watch for Faults {
    fn fate(&self, verb: &str, path: &str) -> Fate {
        if verb == "get" {
            self.read.fetch_add(1, Ordering::SeqCst);
        }
        let is_commit = verb == "put" && path.ends_with(".json");
        match verb {
            "get" if due(&self.refuse_reads) => Fate::Refused,
            _ if is_commit && due(&self.refuse_commits) => Fate::Refused,
            _ if is_commit && due(&self.lose_answers) => Fate::LostAnswer,
            _ => Fate::Done,
        }
    }

    fn listed(&self) {
        self.listed.fetch_add(1, Ordering::SeqCst);
    }
}
