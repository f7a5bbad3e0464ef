//! A folder with a table, a model of what it must show, and a store that counts and fails.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{AsArray, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use deltalake::logstore::{LogStoreRef, StorageConfig, logstore_with};
use deltalake::table::state::DeltaTableState;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path as StorePath;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use uuid::Uuid;

use super::super::{Cut, CutFile, PublishSettings, Publisher, deletion_vector, whole_table};
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
    pub store: Arc<WatchedStore>,
}

impl Folder {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), store: Arc::new(WatchedStore::default()) }
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
        let log_store = super::super::local_table(self.path()).unwrap();
        DeltaTableState::try_new(&log_store, version).await.unwrap()
    }

    /// The numbers that the table shows, sorted.
    pub async fn rows(&self, version: Option<u64>) -> Vec<i64> {
        let mut all = Vec::new();
        for file in self.state(version).await.log_data() {
            let dead = file.deletion_vector_descriptor().map(|descriptor| {
                let vector =
                    deletion_vector::file_of(&descriptor).map(|path| std::fs::read(self.path().join(path)).unwrap());
                let dead = deletion_vector::decode(&descriptor, vector.as_deref());
                assert_eq!(u64::try_from(descriptor.cardinality).unwrap(), dead.len());
                dead
            });
            let data = std::fs::File::open(self.path().join(file.path().as_ref())).unwrap();
            let reader = ParquetRecordBatchReaderBuilder::try_new(data).unwrap().build().unwrap();
            let numbers =
                reader.flat_map(|batch| batch.unwrap().column(0).as_primitive::<Int64Type>().values().to_vec());
            let live = (0_u32..).zip(numbers).filter(|(row, _)| !dead.as_ref().is_some_and(|dead| dead.contains(*row)));
            all.extend(live.map(|(_, number)| number));
        }
        all.sort_unstable();
        all
    }
}

/// The local disk, watched; and on request it fails the next reads, or puts of commits before or after they land.
#[derive(Debug, Default)]
pub struct WatchedStore {
    disk: LocalFileSystem,
    pub listed: Arc<AtomicUsize>,
    pub read: AtomicUsize,
    pub lose_answers: AtomicUsize,
    pub refuse_commits: AtomicUsize,
    pub refuse_reads: AtomicUsize,
}

fn due(count: &AtomicUsize) -> bool {
    count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

fn failure(what: &str) -> object_store::Error {
    object_store::Error::Generic { store: "watched", source: what.to_owned().into() }
}

impl fmt::Display for WatchedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("watched disk")
    }
}

#[async_trait]
impl ObjectStore for WatchedStore {
    async fn put_opts(&self, location: &StorePath, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let commit = location.extension() == Some("json");
        if commit && due(&self.refuse_commits) {
            return Err(failure("refused"));
        }
        let result = self.disk.put_opts(location, payload, opts).await?;
        if commit && due(&self.lose_answers) {
            return Err(failure("the answer is lost"));
        }
        Ok(result)
    }

    async fn put_multipart_opts(
        &self,
        location: &StorePath,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.disk.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &StorePath, options: GetOptions) -> Result<GetResult> {
        self.read.fetch_add(1, Ordering::SeqCst);
        if due(&self.refuse_reads) {
            return Err(failure("no answer"));
        }
        self.disk.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<StorePath>>) -> BoxStream<'static, Result<StorePath>> {
        self.disk.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&StorePath>) -> BoxStream<'static, Result<ObjectMeta>> {
        let listed = self.listed.clone();
        let count = move |_: &Result<ObjectMeta>| {
            listed.fetch_add(1, Ordering::SeqCst);
        };
        self.disk.list(prefix).inspect(count).boxed()
    }

    fn list_with_offset(
        &self,
        prefix: Option<&StorePath>,
        offset: &StorePath,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let listed = self.listed.clone();
        let count = move |_: &Result<ObjectMeta>| {
            listed.fetch_add(1, Ordering::SeqCst);
        };
        self.disk.list_with_offset(prefix, offset).inspect(count).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&StorePath>) -> Result<ListResult> {
        self.disk.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &StorePath, to: &StorePath, options: CopyOptions) -> Result<()> {
        self.disk.copy_opts(from, to, options).await
    }
}
