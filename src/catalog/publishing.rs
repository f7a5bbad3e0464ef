//! The tables of a state, shown to other engines as Delta Lake tables: which files and rows make them up. The large ones
//! are the cold files; the small ones are written whole whenever they have changed. `publish` does the rest.
//!
//! `object_references` is an index, and not shown.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use roaring::RoaringBitmap;
use serde::Serialize;
use uuid::Uuid;

use super::change::Lsn;
use super::cold::{self, ColdFile, ColdTable};
use super::flush::AtRest;
use super::hidden::Hidden;
use super::log::Log;
use super::pages::{self, PageCache};
use super::publish::{ColumnStats, Cut, CutFile, PublishSettings, Published, Publisher, parquet_stats, whole_table};
use super::rows::{
    self, DeleteRequestRow, FlowRow, ObjectRow, ProfileRow, RowError, ServiceRow, SourceRow, StoredFlow, WebhookRow,
};
use super::state::State;
use super::tables::Table;
use super::{CatalogSettings, MaintenanceError, paths};
use crate::domain::{UtcTime, Webhook};

/// Readers may work on a version for so long after there is a newer one, at least.
const SHORTEST_RETENTION: Duration = Duration::from_secs(24 * 60 * 60);
/// Between two looks for files that no reader needs any more.
const COLLECT_EVERY: chrono::TimeDelta = chrono::TimeDelta::hours(1);
/// A column that nobody else is to see.
const SECRET: &str = "api_key_value";

const TABLES: [Table; 8] = [
    Table::FlowSegments,
    Table::Objects,
    Table::Flows,
    Table::Sources,
    Table::Profiles,
    Table::FlowDeleteRequests,
    Table::Service,
    Table::Webhooks,
];

/// What publishing a state came to.
#[derive(Debug, Clone)]
pub struct Publication {
    /// The last log entry that the tables show.
    pub seq: u64,
    /// Versions of the Delta tables, by name.
    pub versions: BTreeMap<&'static str, u64>,
}

/// Files that readers of the published tables may still need, whoever published them; nothing while it is not known.
#[derive(Debug, Clone, Default)]
pub struct NeededFiles(Arc<Mutex<Option<Needed>>>);

#[derive(Debug)]
struct Needed {
    paths: BTreeSet<String>,
    /// Of the state that was the newest before the Delta logs were read.
    seq: u64,
}

impl NeededFiles {
    /// Whether no reader can need a file that was retired with this log entry. One that was retired since the Delta logs
    /// were read may have been published by somebody else since.
    pub fn may_go(&self, path: &str, retired: u64) -> bool {
        self.with(|needed| needed.as_ref().is_some_and(|needed| retired <= needed.seq && !needed.paths.contains(path)))
    }

    pub fn is_known(&self) -> bool {
        self.with(|needed| needed.is_some())
    }

    fn add(&self, paths: impl Iterator<Item = String>) {
        self.with(|needed| {
            if let Some(needed) = needed {
                needed.paths.extend(paths);
            }
        });
    }

    fn set(&self, paths: BTreeSet<String>, seq: u64) {
        self.with(|needed| *needed = Some(Needed { paths, seq }));
    }

    fn with<T>(&self, then: impl FnOnce(&mut Option<Needed>) -> T) -> T {
        then(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Publishes the tables of one catalogue, one state at a time.
pub struct Tables {
    log: Log,
    publishers: Vec<(Table, Publisher)>,
    hidden: Hidden,
    stats: HashMap<u64, Vec<ColumnStats>>,
    /// Files of small tables that are there for sure.
    written: HashMap<Table, String>,
    needed: NeededFiles,
    collected: Option<UtcTime>,
}

impl Tables {
    /// Errors: Delta Lake's library cannot reach the store.
    pub fn open(
        log: &Log,
        cache: PageCache,
        settings: &CatalogSettings,
        needed: NeededFiles,
    ) -> Result<Self, MaintenanceError> {
        let retention = settings.log_retention.max(SHORTEST_RETENTION);
        let settings =
            PublishSettings { log_retention: retention, file_retention: retention, ..PublishSettings::default() };
        Self::open_with(log, cache, &settings, needed)
    }

    pub(super) fn open_with(
        log: &Log,
        cache: PageCache,
        settings: &PublishSettings,
        needed: NeededFiles,
    ) -> Result<Self, MaintenanceError> {
        let catalogue = Uuid::from_bytes(log.catalogue);
        let mut publishers = Vec::new();
        for table in TABLES {
            let log_store = log.store.delta_log(table.name());
            let log_store = log_store.ok_or(MaintenanceError::NotPublishable)??;
            publishers.push((table, Publisher::new(table.name(), catalogue, log_store, settings.clone())));
        }
        Ok(Self {
            log: log.clone(),
            publishers,
            hidden: Hidden::new(log.store.clone(), cache),
            stats: HashMap::new(),
            written: HashMap::new(),
            needed,
            collected: None,
        })
    }

    /// Each table in a commit of its own, all at the state's place in the log.
    pub async fn publish(&mut self, at_rest: &AtRest) -> Result<Publication, MaintenanceError> {
        let state = &*at_rest.state;
        let mut failure = self.collect(state.seq).await.err();
        let files: Vec<Arc<ColdFile>> = state.files.iter().chain(&at_rest.new_files).cloned().collect();
        self.hidden.retain(&files);
        self.stats.retain(|id, _| files.iter().any(|file| file.id == *id));
        let mut versions = BTreeMap::new();
        for at in 0..self.publishers.len() {
            match self.publish_table(at, state, &files).await {
                Ok(version) => versions.extend(version),
                // The others go on without it.
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(Publication { seq: state.seq, versions }), Err)
    }

    async fn publish_table(
        &mut self,
        at: usize,
        state: &State,
        files: &[Arc<ColdFile>],
    ) -> Result<Option<(&'static str, u64)>, MaintenanceError> {
        let Some((table, _)) = self.publishers.get(at) else { return Ok(None) };
        let table = *table;
        let (schema, files) = self.cut(table, state, files).await?;
        let in_store = |file: &CutFile| format!("{}/{}/{}", paths::TABLES, table.name(), file.path);
        self.needed.add(files.iter().map(in_store));
        let cut = Cut { seq: state.seq, committed: state.committed, schema, files };
        let Some((_, publisher)) = self.publishers.get_mut(at) else { return Ok(None) };
        let version = match publisher.publish(&cut, self.log.clock.now()).await? {
            Published::Committed { version, .. }
            | Published::Unchanged { version }
            | Published::Before { version, .. } => version,
        };
        Ok(Some((table.name(), version)))
    }

    async fn cut(
        &mut self,
        table: Table,
        state: &State,
        files: &[Arc<ColdFile>],
    ) -> Result<(SchemaRef, Vec<CutFile>), MaintenanceError> {
        let of = |table: ColdTable| files.iter().filter(|file| file.meta.table == table).cloned().collect::<Vec<_>>();
        match table {
            Table::FlowSegments => {
                let mut shown = Vec::new();
                for file in of(ColdTable::FlowSegments) {
                    let hidden = self.hidden.of_segments(state, &file).await?;
                    shown.push(self.cold(&file, hidden).await?);
                }
                Ok((published(table.schema()), shown))
            }
            Table::Objects => {
                let files = of(ColdTable::Objects);
                let mut shown = Vec::new();
                for (file, hidden) in files.iter().zip(self.hidden.of_objects(state, &files).await?) {
                    shown.push(self.cold(file, hidden).await?);
                }
                // A few that something is still to happen to, and that are in no file yet.
                let waiting = state.objects.values().filter(|hot| !hot.is_at_rest());
                let waiting = waiting.filter_map(|hot| Some((hot.lsn, hot.row.as_ref()?)));
                let waiting = waiting
                    .filter(|(_, row)| row.is_registered() && !row.condemned && !state.condemned.contains(&row.id));
                let rows: Vec<_> = waiting.map(|(lsn, row)| (lsn, Ok(ObjectRow::from(&**row)))).collect();
                if !rows.is_empty() {
                    shown.extend(self.whole(table, rows.into_iter()).await?);
                }
                Ok((published(table.schema()), shown))
            }
            _ => Ok((published(table.schema()), self.small(table, state).await?)),
        }
    }

    /// A cold file.
    async fn cold(&mut self, file: &Arc<ColdFile>, dead: RoaringBitmap) -> Result<CutFile, MaintenanceError> {
        let stats = match self.stats.get(&file.id) {
            Some(stats) => stats.clone(),
            None => {
                let footer = cold::statistics(&file.meta, &pages::read_tail(&*self.log.store, file).await?)?;
                let stats = parquet_stats(file.meta.table.schema(), &footer);
                self.stats.insert(file.id, stats.clone());
                stats
            }
        };
        let folder = format!("{}/{}/", paths::TABLES, file.meta.table.name());
        let path = file.meta.path.strip_prefix(&folder).unwrap_or(&file.meta.path).to_owned();
        Ok(CutFile { path, bytes: file.meta.bytes, rows: file.meta.rows, stats, dead })
    }

    async fn small(&mut self, table: Table, state: &State) -> Result<Vec<CutFile>, MaintenanceError> {
        match table {
            Table::Flows => {
                let rows = state.flows.iter().map(|(id, stored)| {
                    let row = StoredFlow { flow: stored.row.clone(), segments_updated: state.segments_updated(*id) };
                    (stored.lsn, FlowRow::try_from(&row))
                });
                self.whole(table, rows).await
            }
            Table::Sources => {
                self.whole(table, state.sources.values().map(|s| (s.lsn, Ok(SourceRow::from(&*s.row))))).await
            }
            Table::Profiles => {
                self.whole(table, state.profiles.values().map(|s| (s.lsn, ProfileRow::try_from(&*s.row)))).await
            }
            Table::FlowDeleteRequests => {
                let requests = state.delete_requests.values();
                self.whole(table, requests.map(|s| (s.lsn, Ok(DeleteRequestRow::from(&*s.row))))).await
            }
            Table::Service => {
                let service = &state.service;
                self.whole(table, std::iter::once((service.lsn, Ok(ServiceRow::from(&*service.row))))).await
            }
            Table::Webhooks => {
                let rows = state.webhooks.values().map(|stored| {
                    let webhook = Webhook { api_key_value: None, ..Webhook::clone(&stored.row) };
                    (stored.lsn, Ok(WebhookRow::from(&webhook)))
                });
                self.whole(table, rows).await
            }
            Table::FlowSegments | Table::Objects | Table::Events | Table::Files => Ok(Vec::new()),
        }
    }

    /// One file with these rows, or none when there are none.
    async fn whole<R: Serialize>(
        &mut self,
        table: Table,
        rows: impl Iterator<Item = (Lsn, Result<R, RowError>)>,
    ) -> Result<Vec<CutFile>, MaintenanceError> {
        let (mut lsns, mut values) = (Vec::new(), Vec::new());
        for (lsn, row) in rows {
            lsns.push(lsn);
            values.push(row.map_err(MaintenanceError::Row)?);
        }
        if values.is_empty() {
            return Ok(Vec::new());
        }
        let batch = rows::to_batch_with_lsn(table.log_fields(), &values, &lsns).map_err(MaintenanceError::Row)?;
        let batch = without_secret(&batch)?;
        let (file, bytes) = whole_table(table.name(), &batch)?;
        if self.written.get(&table) != Some(&file.path) {
            self.log.store.write(&format!("{}/{}/{}", paths::TABLES, table.name(), file.path), bytes).await?;
            self.written.insert(table, file.path.clone());
        }
        Ok(vec![file])
    }

    /// Finds out which files readers may need, and deletes the others that only readers ever needed: files of small tables
    /// and deletion vectors. Now and then, and at the beginning.
    async fn collect(&mut self, seq: u64) -> Result<(), MaintenanceError> {
        let now = self.log.clock.now();
        if self.collected.is_some_and(|before| (now - before).abs() < COLLECT_EVERY) {
            return Ok(());
        }
        let mut needed = BTreeSet::new();
        for (table, publisher) in &mut self.publishers {
            let files = publisher.files_needed(now).await?;
            needed.extend(files.into_iter().map(|file| format!("{}/{}/{file}", paths::TABLES, table.name())));
        }
        // Another publisher's newest files are not in the Delta log yet.
        if self.log.store.exclusive() {
            let found = self.log.store.list(paths::TABLES).await?;
            for path in found.iter().filter(|path| paths::is_published_only(path) && !needed.contains(*path)) {
                self.log.store.delete(path).await?;
            }
            // They may be wanted again.
            self.written.clear();
        }
        self.needed.set(needed, seq);
        self.collected = Some(now);
        Ok(())
    }
}

/// The columns that others see, with descriptions.
fn published(schema: &SchemaRef) -> SchemaRef {
    let lsn = [
        ("lsn_seq", "Log entry that wrote the row."),
        ("lsn_index", "Place of the change in that entry. Rows are ordered by both."),
    ];
    let lsn = lsn.map(|(name, text)| {
        let described = [("description".to_owned(), text.to_owned())].into();
        Arc::new(Field::new(name, DataType::Int64, false).with_metadata(described))
    });
    let fields: Vec<FieldRef> =
        schema.fields().iter().filter(|field| field.name() != SECRET).cloned().chain(lsn).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

fn without_secret(batch: &RecordBatch) -> Result<RecordBatch, MaintenanceError> {
    let schema = batch.schema();
    let shown: Vec<usize> =
        schema.fields().iter().enumerate().filter(|(_, field)| field.name() != SECRET).map(|(at, _)| at).collect();
    batch.project(&shown).map_err(|error| MaintenanceError::Row(RowError(error.to_string())))
}
