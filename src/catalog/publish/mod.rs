//! Shows a table to other engines as a Delta Lake table: the log under `tables/{table}/_delta_log` follows the catalogue,
//! a cut at a time. May use deltalake; knows nothing of where a cut comes from.
//!
//! It is a projection and nothing depends on it. On a local disk a Delta commit is not flushed: after a power cut the last
//! commits may be missing (the next one makes up for it) or damaged (then the folder can be deleted, and is made anew).
//! Data files are named, never written, rewritten or deleted here.

mod actions;
pub mod deletion_vector;
#[cfg(test)]
pub mod read_back;
mod schema;
mod small;
mod stats;

use std::error::Error as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use deltalake::DeltaTableError;
use deltalake::checkpoints::{cleanup_metadata, create_checkpoint};
use deltalake::kernel::transaction::{CommitBuilder, CommitProperties, TableReference};
use deltalake::kernel::{Action, Transaction};
use deltalake::logstore::{
    LogStoreRef, StorageConfig, default_logstore, extract_version_from_filename, get_actions, logstore_for,
};
use deltalake::protocol::{DeltaOperation, SaveMode};
use deltalake::table::state::DeltaTableState;
use deltalake::{DeltaTable, ObjectStore};
use futures::StreamExt;
use object_store::ObjectStoreExt;
use object_store::prefix::PrefixStore;
use roaring::RoaringBitmap;
use serde_json::json;
use tracing::{debug, warn};
use uuid::Uuid;

use crate::domain::UtcTime;

pub use small::whole_table;
pub use stats::{ColumnStats, StatValue, parquet_stats};

/// Names our transactions in the Delta log; their versions are places in the commit log.
const APP_ID: &str = "tamslake";

/// One table at one place of the commit log.
#[derive(Debug, Clone)]
pub struct Cut {
    /// The last log entry that it shows.
    pub seq: u64,
    /// When that was committed.
    pub committed: UtcTime,
    /// Columns of the files, with their descriptions.
    pub schema: SchemaRef,
    pub files: Vec<CutFile>,
}

/// An immutable Parquet file, of which a cut shows all rows but the dead ones.
#[derive(Debug, Clone)]
pub struct CutFile {
    /// From the table's folder on, such as `data/x.parquet`.
    pub path: String,
    pub bytes: u64,
    /// With the dead ones.
    pub rows: u64,
    pub stats: Vec<ColumnStats>,
    /// Positions of rows that are deleted or that a newer version hides.
    pub dead: RoaringBitmap,
}

#[derive(Debug, Clone)]
pub struct PublishSettings {
    /// Every so many versions a checkpoint is written and what is too old is removed from the Delta log.
    pub checkpoint_interval: u64,
    /// How far back readers can travel in time, at least.
    pub log_retention: Duration,
    /// How long the files of a version stay after it is no longer the newest: what the garbage collection waits.
    pub file_retention: Duration,
}

impl Default for PublishSettings {
    fn default() -> Self {
        Self {
            checkpoint_interval: 50,
            log_retention: Duration::from_secs(7 * 24 * 60 * 60),
            file_retention: Duration::from_secs(7 * 24 * 60 * 60),
        }
    }
}

/// What publishing a cut came to; `version` is the Delta table's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    Committed {
        version: u64,
        added: usize,
        changed: usize,
        removed: usize,
    },
    /// The table shows these rows already.
    Unchanged {
        version: u64,
    },
    /// The table shows this cut or a later one already.
    Before {
        version: u64,
        seq: u64,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error(
        "the Delta log {folder} cannot be continued: {reason}. It is a copy: stop the server, delete this folder, and it \
         is published anew"
    )]
    Unusable { folder: String, reason: String },
    #[error("Delta table {table}: {reason}")]
    Cut { table: String, reason: String },
    #[error("Delta table {table}: {source}")]
    Delta { table: String, source: DeltaTableError },
    #[error("Delta table {table}: {source}")]
    Store { table: String, source: object_store::Error },
    #[error("Delta table {table}: a Parquet file cannot be made: {source}")]
    Parquet { table: String, source: parquet::errors::ParquetError },
}

/// A table's folder on the local disk, as [`Publisher::new`] wants it. The folder is made.
pub fn local_table(folder: &Path) -> Result<LogStoreRef, PublishError> {
    let table = folder.display().to_string();
    let wrap = |source| PublishError::Delta { table: table.clone(), source };
    let url = deltalake::ensure_table_uri(&table).map_err(wrap)?;
    logstore_for(&url, StorageConfig::default()).map_err(wrap)
}

/// A table in a bucket, at a URL whose path is the folder's in the bucket, as [`Publisher::new`] wants it.
pub fn object_table(bucket: Arc<dyn ObjectStore>, url: &str) -> Result<LogStoreRef, PublishError> {
    let wrap = |source| PublishError::Delta { table: url.to_owned(), source };
    let url = deltalake::ensure_table_uri(url).map_err(wrap)?;
    let folder = Arc::new(PrefixStore::new(bucket.clone(), url.path().trim_matches('/')));
    Ok(default_logstore(folder, bucket, &url, &StorageConfig::default()))
}

/// The one writer of one Delta table.
#[derive(Debug)]
pub struct Publisher {
    table: String,
    catalogue: Uuid,
    log_store: LogStoreRef,
    settings: PublishSettings,
    /// As of our last look. Dropped after each checkpoint: a state keeps every commit that it was brought forward by.
    state: Option<DeltaTableState>,
    /// Files of deletion vectors that this process has put or found no reason to put.
    vectors_put: bool,
}

impl Publisher {
    /// The log store is that of the folder `tables/{table}`: [`local_table`], or any that deltalake has.
    pub fn new(table: &str, catalogue: Uuid, log_store: LogStoreRef, settings: PublishSettings) -> Self {
        Self { table: table.to_owned(), catalogue, log_store, settings, state: None, vectors_put: false }
    }

    /// The log entry that the Delta table shows; `None` when there is no table yet.
    pub async fn seq(&mut self) -> Result<Option<u64>, PublishError> {
        match self.refresh().await? {
            None => Ok(None),
            Some(state) => transaction(&state, &self.log_store).await.map_err(|source| self.delta(source)),
        }
    }

    /// Makes the Delta table show a cut, in one commit or in none. Doing it twice does it once.
    ///
    /// After an error the outcome may be open; the next call finds out.
    pub async fn publish(&mut self, cut: &Cut, now: UtcTime) -> Result<Published, PublishError> {
        actions::check(cut).map_err(|reason| PublishError::Cut { table: self.table.clone(), reason })?;
        let state = self.refresh().await?;
        let mut shown = None;
        if let Some(state) = &state {
            shown = transaction(state, &self.log_store).await.map_err(|source| self.delta(source))?;
            if let Some(seq) = shown.filter(|seq| *seq > cut.seq || *seq == cut.seq && self.vectors_put) {
                return Ok(Published::Before { version: state.version(), seq });
            }
        }
        let plan = actions::plan(&self.table, self.catalogue, &self.settings, state.as_ref(), cut, now)
            .map_err(|reason| PublishError::Cut { table: self.table.clone(), reason })?;

        // A vector's name follows from its rows. After a start all are put once, which mends what a power cut took.
        for vector in plan.vectors.iter().filter(|vector| vector.new || !self.vectors_put) {
            self.put(&vector.path, vector.bytes.clone()).await?;
        }
        self.vectors_put = true;

        match &state {
            Some(state) if shown == Some(cut.seq) => {
                return Ok(Published::Before { version: state.version(), seq: cut.seq });
            }
            Some(state) if plan.actions.is_empty() => return Ok(Published::Unchanged { version: state.version() }),
            _ => {}
        }
        let (added, changed, removed) = (plan.added, plan.changed, plan.removed);
        let version = match self.commit(state.as_ref(), plan.actions, removed + changed > 0, cut).await {
            Ok(version) => version,
            Err(error) => self.landed(cut, error).await?,
        };
        debug!(table = self.table, seq = cut.seq, version, added, changed, removed, "published");
        if version > 0 && version.is_multiple_of(self.settings.checkpoint_interval.max(1)) {
            self.checkpoint().await;
        }
        Ok(Published::Committed { version, added, changed, removed })
    }

    /// Files of deletion vectors that the table or a version of the last `file_retention` needs; all others in `dv/`
    /// that are older than that can go.
    pub async fn vectors_needed(&mut self, now: UtcTime) -> Result<Vec<String>, PublishError> {
        let mut needed = self.files_needed(now).await?;
        needed.retain(|path| deletion_vector::is_one(path));
        Ok(needed)
    }

    /// Likewise, and data files.
    pub async fn files_needed(&mut self, now: UtcTime) -> Result<Vec<String>, PublishError> {
        let Some(state) = self.refresh().await? else { return Ok(Vec::new()) };
        let horizon = now.timestamp_millis().saturating_sub(millis(self.settings.file_retention));
        let mut needed: Vec<String> = Vec::new();
        for file in state.log_data() {
            needed.push(file.path().into_owned());
            needed.extend(file.deletion_vector_descriptor().as_ref().and_then(deletion_vector::file_of));
        }
        // What went since then is told by the commits since then.
        let store = self.log_store.object_store(None);
        let mut log = store.list(Some(self.log_store.log_path()));
        while let Some(entry) = log.next().await {
            let entry = entry.map_err(|source| self.store(source))?;
            let version = extract_version_from_filename(entry.location.as_ref());
            let Some(version) = version.filter(|_| entry.location.extension() == Some("json")) else { continue };
            if entry.last_modified.timestamp_millis() < horizon {
                continue;
            }
            let commit = self.log_store.read_commit_entry(version).await.map_err(|source| self.delta(source))?;
            for action in get_actions(version, &commit.unwrap_or_default()).map_err(|source| self.delta(source))? {
                if let Action::Remove(remove) = action {
                    needed.push(remove.path.clone());
                    needed.extend(remove.deletion_vector.as_ref().and_then(deletion_vector::file_of));
                }
            }
        }
        needed.sort_unstable();
        needed.dedup();
        Ok(needed)
    }

    async fn commit(
        &mut self,
        state: Option<&DeltaTableState>,
        actions: Vec<Action>,
        rows_go: bool,
        cut: &Cut,
    ) -> Result<u64, DeltaTableError> {
        let operation = if rows_go {
            DeltaOperation::Update { predicate: None }
        } else {
            DeltaOperation::Write { mode: SaveMode::Append, partition_by: None, predicate: None }
        };
        let seq = i64::try_from(cut.seq).map_err(DeltaTableError::generic)?;
        // Without retries a commit lands on the version after the one that was compared with the cut, or not at all.
        let properties = CommitProperties::default()
            .with_max_retries(0)
            .with_create_checkpoint(false)
            .with_cleanup_expired_logs(Some(false))
            .with_application_transaction(Transaction::new(APP_ID, seq))
            .with_metadata([
                ("tamslake.seq".to_owned(), json!(cut.seq)),
                ("tamslake.committed".to_owned(), json!(cut.committed)),
            ]);
        let commit = CommitBuilder::from(properties)
            .with_actions(actions)
            .build(state.map(|state| state as &dyn TableReference), self.log_store.clone(), operation)
            .await?;
        self.state = Some(commit.snapshot());
        Ok(commit.version())
    }

    /// A commit can report an error after it landed: look, and pass the error on only when it did not.
    async fn landed(&mut self, cut: &Cut, error: DeltaTableError) -> Result<u64, PublishError> {
        self.state = None;
        if let Some(state) = self.refresh().await?
            && transaction(&state, &self.log_store).await.map_err(|source| self.delta(source))? == Some(cut.seq)
        {
            warn!(table = self.table, seq = cut.seq, %error, "a Delta commit landed although it said that it had not");
            return Ok(state.version());
        }
        Err(self.delta(error))
    }

    /// Without a checkpoint readers are slower and nothing else is wrong, so this does not fail.
    async fn checkpoint(&mut self) {
        self.state = None;
        let mut table = DeltaTable::new(self.log_store.clone());
        let done = async {
            table.load().await?;
            create_checkpoint(&table, None).await?;
            cleanup_metadata(&table, None).await
        }
        .await;
        match done {
            Ok(removed) => debug!(table = self.table, version = table.version(), removed, "Delta checkpoint"),
            Err(error) => warn!(table = self.table, %error, "no Delta checkpoint was made; tried again later"),
        }
    }

    /// The newest state; `None` when there is no table.
    async fn refresh(&mut self) -> Result<Option<DeltaTableState>, PublishError> {
        let state = match self.state.take() {
            Some(mut state) => {
                state.update(&self.log_store, None).await.map_err(|error| self.unusable(error))?;
                state
            }
            None => {
                if !self.has_log().await? {
                    return Ok(None);
                }
                let state = DeltaTableState::try_new(&self.log_store, None).await;
                let state = state.map_err(|error| self.unusable(error))?;
                schema::is_ours(&state, &self.table, self.catalogue)
                    .map_err(|reason| PublishError::Unusable { folder: self.folder(), reason })?;
                state
            }
        };
        self.state = Some(state.clone());
        Ok(Some(state))
    }

    async fn has_log(&self) -> Result<bool, PublishError> {
        let store = self.log_store.object_store(None);
        let mut files = store.list(Some(self.log_store.log_path()));
        match files.next().await {
            None => Ok(false),
            Some(Ok(_)) => Ok(true),
            Some(Err(source)) => Err(self.store(source)),
        }
    }

    async fn put(&self, path: &str, bytes: Bytes) -> Result<(), PublishError> {
        let store: Arc<dyn ObjectStore> = self.log_store.object_store(None);
        let path = object_store::path::Path::from(path);
        store.put(&path, bytes.into()).await.map(drop).map_err(|source| self.store(source))
    }

    fn folder(&self) -> String {
        format!("{}/_delta_log", self.log_store.root_url().as_str().trim_end_matches('/').trim_start_matches("file://"))
    }

    /// A log that cannot be read is damaged, unless it is the store that fails.
    fn unusable(&self, source: DeltaTableError) -> PublishError {
        let reason = describe(&source);
        let store_fails = match &source {
            DeltaTableError::ObjectStore { source } => !matches!(source, object_store::Error::NotFound { .. }),
            // deltalake's kernel passes such an error on as text; a missing file has another one.
            _ => reason.contains("Error interacting with object store"),
        };
        if store_fails { self.delta(source) } else { PublishError::Unusable { folder: self.folder(), reason } }
    }

    fn delta(&self, source: DeltaTableError) -> PublishError {
        PublishError::Delta { table: self.table.clone(), source }
    }

    fn store(&self, source: object_store::Error) -> PublishError {
        PublishError::Store { table: self.table.clone(), source }
    }
}

async fn transaction(state: &DeltaTableState, log_store: &LogStoreRef) -> Result<Option<u64>, DeltaTableError> {
    let version = state.transaction_version(log_store.as_ref(), APP_ID).await?;
    Ok(version.and_then(|version| u64::try_from(version).ok()))
}

fn describe(error: &DeltaTableError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
