//! What other engines need to show the tables of a state: small tables whole, of large ones what is in memory, which files
//! have the rest, and which rows of those are not to be seen.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde::Serialize;

use super::Catalog;
use super::change::{Lsn, SegmentKey};
use super::cold::{self, ColdError, ColdFile, ColdTable, ObjectEntry, Reference};
use super::pages::ReadError;
use super::rows::{
    self, DeleteRequestRow, FlowRow, ProfileRow, RowError, ServiceRow, SourceRow, StoredFlow, WebhookRow,
};
use super::state::State;
use super::tables::Table;
use super::view::View;
use crate::domain::FlowId;

/// A table that is in memory whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SmallTable {
    Service,
    Sources,
    Flows,
    Profiles,
    FlowDeleteRequests,
    /// Without their secrets.
    Webhooks,
}

impl SmallTable {
    pub const ALL: [Self; 6] =
        [Self::Service, Self::Sources, Self::Flows, Self::Profiles, Self::FlowDeleteRequests, Self::Webhooks];

    fn table(self) -> Table {
        match self {
            Self::Service => Table::Service,
            Self::Sources => Table::Sources,
            Self::Flows => Table::Flows,
            Self::Profiles => Table::Profiles,
            Self::FlowDeleteRequests => Table::FlowDeleteRequests,
            Self::Webhooks => Table::Webhooks,
        }
    }

    pub fn name(self) -> &'static str {
        self.table().name()
    }

    /// The table's columns, then `lsn_seq` and `lsn_index`.
    pub fn schema(self) -> SchemaRef {
        let lsn = ["lsn_seq", "lsn_index"].map(|name| Arc::new(Field::new(name, DataType::Int64, false)));
        let fields = self.table().log_fields().iter().filter(|field| !is_secret(field.name())).cloned();
        Arc::new(Schema::new(fields.chain(lsn).collect::<Vec<_>>()))
    }
}

/// Whether a column is for this server alone.
fn is_secret(name: &str) -> bool {
    name == "api_key_value"
}

/// A large table as files and rows in memory.
#[derive(Debug, Clone)]
pub struct TableFiles {
    /// As an operator would name them: of a local store, their paths.
    pub files: Vec<String>,
    /// So many of the files, from the first on, hold no key twice, and all other rows with their keys are newer.
    pub settled: usize,
    /// Rows that are in no file yet; of Objects, those too that say that the Object is gone.
    pub hot: RecordBatch,
}

/// Rows of `flow_segments` files that are not to be seen: of this Flow, with such start keys and a smaller LSN.
#[derive(Debug, Clone, PartialEq)]
pub struct Hidden {
    pub flow_id: FlowId,
    pub starts: Range<i128>,
    pub lsn: Lsn,
}

/// Small tables of one state as batches, made when they are asked for first: of a copy, which is about to change, anew.
#[derive(Debug, Default)]
pub struct SmallTables([OnceLock<RecordBatch>; SmallTable::ALL.len()]);

impl Clone for SmallTables {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl State {
    /// All rows of a small table.
    pub fn small_table(&self, table: SmallTable) -> Result<RecordBatch, ReadError> {
        let kept = SmallTable::ALL.iter().position(|one| *one == table).and_then(|at| self.small_tables.0.get(at));
        if let Some(batch) = kept.and_then(OnceLock::get) {
            return Ok(batch.clone());
        }
        let batch = self.make_small_table(table)?;
        if let Some(kept) = kept {
            // Whoever was first made the same.
            let _ = kept.set(batch.clone());
        }
        Ok(batch)
    }

    fn make_small_table(&self, table: SmallTable) -> Result<RecordBatch, ReadError> {
        let batch = match table {
            SmallTable::Service => {
                batch(table, std::iter::once((self.service.lsn, Ok(ServiceRow::from(&*self.service.row)))))
            }
            SmallTable::Sources => batch(table, self.sources.values().map(|s| (s.lsn, Ok(SourceRow::from(&*s.row))))),
            SmallTable::Flows => {
                let flows = self.flows.iter().map(|(id, stored)| {
                    let row = StoredFlow { flow: stored.row.clone(), segments_updated: self.segments_updated(*id) };
                    (stored.lsn, FlowRow::try_from(&row))
                });
                batch(table, flows)
            }
            SmallTable::Profiles => {
                batch(table, self.profiles.values().map(|s| (s.lsn, ProfileRow::try_from(&*s.row))))
            }
            SmallTable::FlowDeleteRequests => {
                batch(table, self.delete_requests.values().map(|s| (s.lsn, Ok(DeleteRequestRow::from(&*s.row)))))
            }
            SmallTable::Webhooks => {
                batch(table, self.webhooks.values().map(|s| (s.lsn, Ok(WebhookRow::from(&*s.row)))))
            }
        };
        batch.map_err(|error| unfit(table.name(), error))
    }

    /// How many rows of a large table are stored, and whether all of them are to be seen.
    pub fn stored_rows(&self, table: ColdTable) -> (u64, bool) {
        let cold: u64 = self.files_of(table).map(|file| file.meta.rows).sum();
        let (hot, all_visible) = match table {
            ColdTable::FlowSegments => {
                (self.segments.len(), self.tombstones.len() == 0 && self.unfinished_deletions.is_empty())
            }
            // Any of them may be an older row of another, or say that it is gone.
            ColdTable::Objects => (self.objects.len(), false),
            ColdTable::References => (self.references.len(), false),
        };
        (cold + hot as u64, all_visible)
    }

    fn hot_rows(&self, table: ColdTable) -> Result<RecordBatch, ColdError> {
        match table {
            ColdTable::FlowSegments => {
                let visible = self.segments.iter().filter(|(key, stored)| {
                    !self.unfinished(key.flow_id).iter().any(|request| request.covers(&stored.row))
                });
                cold::segments_batch(&visible.map(|(_, stored)| (stored.lsn, &*stored.row)).collect::<Vec<_>>())
            }
            ColdTable::Objects => {
                let entries = self.objects.iter().map(|(id, hot)| match &hot.row {
                    Some(object) => (hot.lsn, ObjectEntry::Is(object)),
                    None => (hot.lsn, ObjectEntry::Gone(id, hot.place)),
                });
                cold::objects_batch(&entries.collect::<Vec<_>>())
            }
            ColdTable::References => {
                let visible = self.references.iter().filter(|(key, _)| self.flow(key.segment.flow_id).is_some());
                cold::references_batch(
                    &visible.map(|(key, lsn)| Reference { key: *key, lsn: *lsn }).collect::<Vec<_>>(),
                )
            }
        }
    }
}

impl Catalog {
    /// A large table for engines that read its files themselves. [`Catalog::hidden`] says what they must leave out.
    pub fn table_files(&self, state: &State, table: ColdTable) -> Result<TableFiles, ReadError> {
        let hot = state.hot_rows(table).map_err(|error| unfit(table.name(), error))?;
        let (mut files, mut others): (Vec<_>, Vec<_>) = (state.files_of(table).collect(), Vec::new());
        if let Some(run) = oldest_run(&files) {
            (files, others) = files.into_iter().partition(|file| file.run == run);
        } else {
            std::mem::swap(&mut files, &mut others);
        }
        let settled = files.len();
        let location = |file: &Arc<ColdFile>| self.shared.cache.location(&file.meta.path);
        Ok(TableFiles { files: files.into_iter().chain(others).map(location).collect(), settled, hot })
    }

    /// What of the files of `flow_segments` is not to be seen: what is deleted, and what is being deleted.
    ///
    /// A request that is about one Object has an item for each segment of it that is left.
    pub async fn hidden(&self, state: &State) -> Result<Vec<Hidden>, ReadError> {
        let tombstones = state.tombstones.iter();
        let mut hidden: Vec<Hidden> =
            tombstones.map(|(from, to, lsn)| Hidden { flow_id: from.flow_id, starts: from.start..to, lsn }).collect();
        // Newer than every row.
        let lsn = Lsn { seq: state.seq + 1, index: 0 };
        for request in state.unfinished_deletions.values().flatten() {
            let flow_id = request.flow_id;
            if request.object_id.is_none() {
                let remaining = request.timerange_remaining;
                hidden.push(Hidden { flow_id, starts: remaining.start_key()..remaining.end_key(), lsn });
                continue;
            }
            let covered = |pages: &_| {
                let segments = View::new(state, pages).still_to_delete(request);
                segments.map(|segment| Ok(SegmentKey::of(&*segment?).start)).collect::<Result<Vec<_>, ReadError>>()
            };
            let starts = self.shared.cache.answer(covered).await?;
            hidden.extend(starts.into_iter().map(|start| Hidden { flow_id, starts: start..start + 1, lsn }));
        }
        Ok(hidden)
    }
}

/// The run of which all rows are older than those of all other runs, if there is one.
fn oldest_run(files: &[&Arc<ColdFile>]) -> Option<u64> {
    let run = files.iter().min_by_key(|file| file.meta.min_lsn)?.run;
    let (own, others): (Vec<&Arc<ColdFile>>, Vec<_>) = files.iter().copied().partition(|file| file.run == run);
    let last = own.iter().map(|file| file.meta.max_lsn).max()?;
    others.iter().all(|file| file.meta.min_lsn > last).then_some(run)
}

fn batch<R: Serialize>(
    table: SmallTable,
    rows: impl Iterator<Item = (Lsn, Result<R, RowError>)>,
) -> Result<RecordBatch, RowError> {
    let (mut lsns, mut all) = (Vec::new(), Vec::new());
    for (lsn, row) in rows {
        lsns.push(lsn);
        all.push(row?);
    }
    let mut batch = rows::to_batch_with_lsn(table.table().log_fields(), &all, &lsns)?;
    while let Some((column, _)) =
        batch.schema_ref().fields().iter().enumerate().find(|(_, field)| is_secret(field.name()))
    {
        batch.remove_column(column);
    }
    Ok(batch)
}

fn unfit(table: &'static str, error: impl std::fmt::Display) -> ReadError {
    ReadError::Rows { table, reason: error.to_string() }
}
