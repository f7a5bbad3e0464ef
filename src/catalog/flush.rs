//! Rows that are at rest go from memory to new cold files: first the files, then one log entry that says so. Whoever dies
//! between the two leaves files that nobody refers to, nothing else.

use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;

use super::change::{Change, object_key};
use super::cold::{self, ColdError, ColdFile, ColdTable, FileMeta, FileWriter, Layout, ObjectEntry, Reference};
use super::log::Log;
use super::state::State;
use super::{Catalog, MaintenanceError, Purpose, paths};
use crate::domain::{UtcTime, hex};

/// Rows of one batch on its way into a file.
const BATCH_ROWS: usize = 8_192;
/// Rows of one cold file, at most, about.
const FILE_ROWS: usize = 1_000_000;
/// Files that were not put into the log for longer may be taken for orphans and deleted; so they are not put at all.
const LONGEST_UNKNOWN: chrono::TimeDelta = chrono::TimeDelta::minutes(30);

#[cfg(test)]
thread_local! {
    /// Whether this thread writes files of a few rows, and pages of fewer.
    pub static SMALL_FILES: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    /// Breaks flushing: nobody looks whether another writer was first.
    pub static FLUSHES_TWICE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

pub fn batch_rows() -> usize {
    #[cfg(test)]
    if SMALL_FILES.get() {
        return 2;
    }
    BATCH_ROWS
}

pub fn file_rows() -> usize {
    #[cfg(test)]
    if SMALL_FILES.get() {
        return 5;
    }
    FILE_ROWS
}

fn layout(table: ColdTable) -> Layout {
    let layout = Layout::of(table);
    #[cfg(test)]
    if SMALL_FILES.get() {
        return Layout { page_rows: 2, row_group_rows: 4, ..layout };
    }
    layout
}

/// Files that are on the store and that nobody refers to yet.
pub struct NewFiles<'a> {
    log: &'a Log,
    pub files: Vec<ColdFile>,
    as_of: u64,
    run: u64,
    pub started: UtcTime,
}

impl<'a> NewFiles<'a> {
    pub fn new(log: &'a Log, as_of: u64) -> Self {
        // A column of signed numbers holds it.
        let run = u64::from_le_bytes(log.clock.random_bytes()) >> 1;
        Self { log, files: Vec::new(), as_of, run, started: log.clock.now() }
    }

    pub fn writer(&self, table: ColdTable) -> Result<FileWriter, MaintenanceError> {
        let name = format!("{:010}-{}", self.started.timestamp(), hex(&self.log.clock.random_bytes::<8>()));
        Ok(FileWriter::with_layout(table, paths::table_file(table.name(), &name), layout(table))?)
    }

    pub async fn put(&mut self, (bytes, meta): (Bytes, FileMeta)) -> Result<(), MaintenanceError> {
        self.log.store.write(&meta.path, bytes).await?;
        self.files.push(ColdFile::new(meta, self.as_of, self.run));
        Ok(())
    }

    /// Whether it is too late to put them into the log.
    pub fn is_stale(started: UtcTime, now: UtcTime) -> bool {
        (now - started).abs() > LONGEST_UNKNOWN
    }

    /// Best effort: what stays is an orphan, and collected as one.
    pub async fn discard(self) {
        for file in self.files {
            let _ = self.log.store.delete(&file.meta.path).await;
        }
    }
}

/// A state, with cold files that have all of its rows at rest.
pub struct AtRest {
    pub state: Arc<State>,
    /// That the state does not know of yet.
    pub new_files: Vec<Arc<ColdFile>>,
}

/// Puts all rows that are at rest now into cold files. Rows that come meanwhile stay in memory. `None` if another writer
/// did so first.
pub async fn flush(log: &Log, catalog: &Catalog) -> Result<Option<AtRest>, MaintenanceError> {
    let state = catalog.snapshot();
    let at_rest = state.objects.values().any(|hot| hot.is_at_rest());
    // Without rows, too: tombstones can be dropped when no older row can come to a file any more.
    let deleted_since = state.tombstones.iter().any(|(_, _, lsn)| lsn.seq > state.flushed);
    if state.segments.is_empty() && !at_rest && !deleted_since {
        return Ok(Some(AtRest { state, new_files: Vec::new() }));
    }
    let mut new = NewFiles::new(log, state.seq);
    write_segments(&mut new, &state).await?;
    write_objects(&mut new, &state).await?;
    write_references(&mut new, &state).await?;
    let (before, as_of, started) = (state.flushed, state.seq, new.started);
    let new_files: Vec<Arc<ColdFile>> = new.files.iter().cloned().map(Arc::new).collect();
    let changes: Vec<Change> = new_files.iter().cloned().map(Change::PutFile).collect();
    let committed = catalog
        .commit_as(Purpose::Maintenance, 1_024, move |view, now| {
            // Another writer may have been first.
            if is_flushed_since(view.state(), before) || NewFiles::is_stale(started, now) {
                return Ok::<_, MaintenanceError>((Vec::new(), false));
            }
            let mut changes = changes.clone();
            changes.push(Change::Flushed { as_of });
            Ok((changes, true))
        })
        .await?;
    tracing::debug!(as_of, files = new.files.len(), committed, "rows flushed");
    if !committed {
        new.discard().await;
        return Ok(None);
    }
    Ok(Some(AtRest { state, new_files }))
}

fn is_flushed_since(state: &State, before: u64) -> bool {
    #[cfg(test)]
    if FLUSHES_TWICE.get() {
        return false;
    }
    state.flushed != before
}

async fn write_segments(new: &mut NewFiles<'_>, state: &State) -> Result<(), MaintenanceError> {
    let rows: Vec<_> = state.segments.values().map(|stored| (stored.lsn, &*stored.row)).collect();
    write(new, ColdTable::FlowSegments, &rows, cold::segments_batch).await
}

async fn write_objects(new: &mut NewFiles<'_>, state: &State) -> Result<(), MaintenanceError> {
    // That an Object is gone has to be said only where a file may still have it.
    let has_files = state.files_of(ColdTable::Objects).next().is_some();
    let gone = state.objects.iter().filter(|_| has_files);
    let gone =
        gone.flat_map(|(id, hot)| hot.gone().map(move |(place, lsn)| (place, lsn, ObjectEntry::Gone(id, place))));
    let there = state.objects.values().filter(|hot| hot.is_at_rest());
    let there = there.filter_map(|hot| Some((hot.place, hot.lsn, ObjectEntry::Is(hot.row.as_deref()?))));
    let mut rows: Vec<_> = gone.chain(there).collect();
    rows.sort_by_cached_key(|(place, _, entry)| object_key(*place, entry.id().as_str()));
    let rows: Vec<_> = rows.into_iter().map(|(_, lsn, entry)| (lsn, entry)).collect();
    write(new, ColdTable::Objects, &rows, cold::objects_batch).await
}

async fn write_references(new: &mut NewFiles<'_>, state: &State) -> Result<(), MaintenanceError> {
    let rows: Vec<Reference> = state.references.iter().map(|(key, lsn)| Reference { key: *key, lsn: *lsn }).collect();
    write(new, ColdTable::References, &rows, cold::references_batch).await
}

/// Rows in their table's order.
async fn write<R>(
    new: &mut NewFiles<'_>,
    table: ColdTable,
    rows: &[R],
    to_batch: impl Fn(&[R]) -> Result<RecordBatch, ColdError>,
) -> Result<(), MaintenanceError> {
    for of_file in rows.chunks(file_rows()) {
        let mut writer = new.writer(table)?;
        for batch in of_file.chunks(batch_rows()) {
            writer.push(&to_batch(batch)?)?;
        }
        new.put(writer.finish()?).await?;
    }
    Ok(())
}
