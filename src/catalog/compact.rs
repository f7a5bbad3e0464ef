//! Cold files become fewer: runs of about the same size are merged into one, without the rows that are deleted. Again
//! first the files, then one log entry that exchanges them; and the old ones' bytes go when nobody can go back to them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::compute::interleave_record_batch;

use super::change::{Change, Lsn};
use super::checkpoint;
use super::cold::{ColdError, ColdFile, ColdTable, FileIndex, FileWriter, Page};
use super::flush::{NewFiles, batch_rows, file_rows};
use super::log::Log;
use super::pages;
use super::state::State;
use super::{Catalog, CommitError, MaintenanceError, Purpose, paths};

/// Pages of one file in memory, while it is merged.
const PAGES_AT_ONCE: u32 = 8;
/// Runs that one merge takes, at most: a few pages of each are in memory.
const MOST_RUNS: usize = 64;
/// Rows of runs of the lowest tier, about: few, so that what is published every second is not rewritten with what came in hours.
/// With six runs a tier another one ends at 100,000, so that flushes of full memory are all of one tier.
const LOWEST_TIER: u64 = 2_800;
/// A file that nobody refers to and that is older than this is an orphan.
const ORPHANED: chrono::TimeDelta = chrono::TimeDelta::hours(2);

/// Merges as long as `runs` runs of a table are of about the same size.
pub async fn compact(log: &Log, catalog: &Catalog, runs: usize) -> Result<(), MaintenanceError> {
    while let Some(inputs) = choose(&catalog.snapshot(), runs.max(2)) {
        if !merge(log, catalog, inputs).await? {
            break;
        }
    }
    Ok(())
}

/// Merges all files of each table; the number of files that were exchanged.
pub async fn compact_all(log: &Log, catalog: &Catalog) -> Result<u64, MaintenanceError> {
    let mut merged = 0;
    for table in ColdTable::ALL {
        let state = catalog.snapshot();
        let inputs: Vec<Arc<ColdFile>> = state.files_of(table).cloned().collect();
        let one_run = inputs.windows(2).all(|pair| matches!(pair, [one, next] if one.run == next.run));
        let mut tombstones = state.tombstones.iter();
        let has_hidden =
            tombstones.any(|(from, to, lsn)| inputs.iter().any(|file| file.may_have_hidden(from, to, lsn)));
        if inputs.is_empty() || (one_run && !has_hidden) {
            continue;
        }
        let count = inputs.len() as u64;
        if merge(log, catalog, inputs).await? {
            merged += count;
        }
    }
    Ok(merged)
}

/// The files of the smallest tier that has enough runs, of the table where it has the most: none waits for another for ever.
fn choose(state: &State, enough: usize) -> Option<Vec<Arc<ColdFile>>> {
    let mut due: Option<Vec<Vec<Arc<ColdFile>>>> = None;
    for table in ColdTable::ALL {
        let mut runs: BTreeMap<u64, (u64, Vec<Arc<ColdFile>>)> = BTreeMap::new();
        for file in state.files_of(table) {
            let run = runs.entry(file.run).or_default();
            run.0 += file.meta.rows;
            run.1.push(file.clone());
        }
        let mut tiers: BTreeMap<u32, Vec<Vec<Arc<ColdFile>>>> = BTreeMap::new();
        for (rows, files) in runs.into_values() {
            let size = rows / LOWEST_TIER;
            let tier = size.checked_ilog(enough as u64).map_or(0, |tier| tier + 1);
            tiers.entry(tier).or_default().push(files);
        }
        let tier = tiers.into_values().find(|tier| tier.len() >= enough);
        if let Some(tier) = tier.filter(|tier| due.as_ref().is_none_or(|due| tier.len() > due.len())) {
            due = Some(tier);
        }
    }
    due.map(|runs| runs.into_iter().take(MOST_RUNS.max(enough)).flatten().collect())
}

/// One run instead of these files; false if somebody else exchanged one of them first.
async fn merge(log: &Log, catalog: &Catalog, inputs: Vec<Arc<ColdFile>>) -> Result<bool, MaintenanceError> {
    let state = catalog.snapshot();
    let mut new = NewFiles::new(log, state.seq);
    write_merged(log, catalog, &state, &inputs, &mut new).await?;
    let started = new.started;
    let added: Vec<Change> = new.files.iter().cloned().map(|file| Change::PutFile(file.into())).collect();
    let rows: u64 = new.files.iter().map(|file| file.meta.rows).sum();
    let old: Vec<String> = inputs.iter().map(|file| file.meta.path.clone()).collect();
    let merged = old.len();
    let committed = catalog
        .commit_as(Purpose::Maintenance, 1_024, move |view, now| {
            let known: BTreeSet<&str> = view.files.iter().map(|file| file.meta.path.as_str()).collect();
            if !old.iter().all(|path| known.contains(path.as_str())) || NewFiles::is_stale(started, now) {
                return Ok::<_, MaintenanceError>((Vec::new(), false));
            }
            let retired = old.iter().cloned().map(Change::RetireFile);
            Ok((added.iter().cloned().chain(retired).collect(), true))
        })
        .await?;
    tracing::debug!(merged, files = new.files.len(), rows, committed, "cold files merged");
    if !committed {
        new.discard().await;
    }
    Ok(committed)
}

/// Rows of one file, a page at a time.
pub(super) struct Input<'a> {
    log: &'a Log,
    file: &'a ColdFile,
    index: FileIndex,
    next_page: u32,
    page: Arc<Page>,
    row: usize,
    /// Of that row; `None` at the end.
    pub key: Option<Vec<u8>>,
}

/// A row of a page that is in memory.
pub(super) struct Row {
    pub lsn: Lsn,
    pub page: Arc<Page>,
    pub row: usize,
}

impl<'a> Input<'a> {
    pub async fn open(log: &'a Log, file: &'a ColdFile) -> Result<Self, MaintenanceError> {
        let index = pages::read_index(&*log.store, file).await?;
        let span = span(&index, 0);
        let page = Arc::new(pages::read_pages(&*log.store, file, &index, span.clone()).await?);
        let mut input = Self { log, file, index, next_page: span.end, page, row: 0, key: None };
        input.set_key();
        Ok(input)
    }

    fn set_key(&mut self) {
        self.key = (self.row < self.page.len()).then(|| self.page.key(self.row));
    }

    /// The row that it is at, and on to the next.
    pub async fn take(&mut self) -> Result<Row, MaintenanceError> {
        let row = Row { lsn: self.page.lsn(self.row), page: self.page.clone(), row: self.row };
        self.row += 1;
        if self.row >= self.page.len() && self.next_page < self.index.pages() {
            let span = span(&self.index, self.next_page);
            self.page = Arc::new(pages::read_pages(&*self.log.store, self.file, &self.index, span.clone()).await?);
            (self.next_page, self.row) = (span.end, 0);
        }
        self.set_key();
        Ok(row)
    }
}

/// Pages from there on that are read together, for they share dictionaries: as far as their row group goes.
fn span(index: &FileIndex, first: u32) -> Range<u32> {
    let group = index.pages_of(index.row_group_of(first));
    first..group.end.min(first + PAGES_AT_ONCE)
}

/// Rows of several files of one table, by key.
pub(super) struct Merged<'a>(Vec<Input<'a>>);

impl<'a> Merged<'a> {
    pub async fn open(
        log: &'a Log,
        files: impl IntoIterator<Item = &'a Arc<ColdFile>>,
    ) -> Result<Self, MaintenanceError> {
        let mut inputs = Vec::new();
        for file in files {
            inputs.push(Input::open(log, file).await?);
        }
        Ok(Self(inputs))
    }

    /// The rows with the next key, the oldest first, instead of what is in `same`; false at the end.
    pub async fn next(&mut self, same: &mut Vec<Row>) -> Result<bool, MaintenanceError> {
        same.clear();
        // Files are few, so the smallest key is found by looking at all.
        let Some(key) = self.0.iter().filter_map(|input| input.key.as_ref()).min().cloned() else { return Ok(false) };
        for input in &mut self.0 {
            while input.key.as_ref() == Some(&key) {
                same.push(input.take().await?);
            }
        }
        same.sort_by_key(|row| row.lsn);
        Ok(true)
    }
}

/// Rows on their way into files.
struct Output<'a, 'b> {
    catalog: &'a Catalog,
    new: &'a mut NewFiles<'b>,
    table: ColdTable,
    writer: Option<(FileWriter, usize)>,
    pages: Vec<Arc<Page>>,
    /// Page and row.
    rows: Vec<(usize, usize)>,
}

impl Output<'_, '_> {
    async fn push(&mut self, row: &Row) -> Result<(), MaintenanceError> {
        // Pages are few at a time.
        let known = self.pages.iter().rposition(|page| Arc::ptr_eq(page, &row.page));
        let page = known.unwrap_or_else(|| {
            self.pages.push(row.page.clone());
            self.pages.len() - 1
        });
        self.rows.push((page, row.row));
        if self.rows.len() >= batch_rows() { self.write().await } else { Ok(()) }
    }

    async fn write(&mut self) -> Result<(), MaintenanceError> {
        // Whoever closes the catalogue need not wait for what could not be put into the log any more.
        if self.catalog.queue.is_closed() {
            return Err(CommitError::Closed.into());
        }
        if self.rows.is_empty() {
            return Ok(());
        }
        let batches = self.pages.iter().map(|page| self.table.as_of_today(page.batch()));
        let batches = batches.collect::<Result<Vec<RecordBatch>, _>>()?;
        let batch = interleave_record_batch(&batches.iter().collect::<Vec<_>>(), &self.rows)
            .map_err(|error| ColdError { path: self.table.name().to_owned(), reason: error.to_string() })?;
        let (writer, rows) = match &mut self.writer {
            Some(open) => open,
            None => self.writer.insert((self.new.writer(self.table)?, 0)),
        };
        writer.push(&batch)?;
        *rows += batch.num_rows();
        self.rows.clear();
        self.pages.clear();
        if self.writer.as_ref().is_some_and(|(_, rows)| *rows >= file_rows()) {
            self.finish().await?;
        }
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), MaintenanceError> {
        if let Some((writer, _)) = self.writer.take() {
            self.new.put(writer.finish()?).await?;
        }
        Ok(())
    }
}

async fn write_merged(
    log: &Log,
    catalog: &Catalog,
    state: &State,
    files: &[Arc<ColdFile>],
    new: &mut NewFiles<'_>,
) -> Result<(), MaintenanceError> {
    let Some(table) = files.first().map(|file| file.meta.table) else { return Ok(()) };
    // An older row of an Object that is gone may be in a file that is not among these.
    let all = state.files_of(table).count() == files.len();
    let mut merged = Merged::open(log, files).await?;
    let mut output = Output { catalog, new, table, writer: None, pages: Vec::new(), rows: Vec::new() };
    let mut same = Vec::new();
    while merged.next(&mut same).await? {
        match table {
            ColdTable::FlowSegments => {
                for row in &same {
                    let key = row.page.segment_key(row.row).map_err(|error| pages::damaged(&*log.store, error))?;
                    if !state.tombstones.hide(key, row.lsn) {
                        output.push(row).await?;
                    }
                }
            }
            ColdTable::Objects => {
                if let Some(newest) = same.last().filter(|row| !(all && row.page.is_deleted(row.row))) {
                    output.push(newest).await?;
                }
            }
            ColdTable::References => {
                for row in &same {
                    let reference = row.page.reference(row.row).map_err(|error| pages::damaged(&*log.store, error))?;
                    if !state.tombstones.hide(reference.key.segment, reference.lsn) {
                        output.push(row).await?;
                    }
                }
            }
        }
    }
    output.write().await?;
    output.finish().await
}

/// Deletes the bytes of files that nobody can go back to any more: going back means from a checkpoint on, or, as long as
/// the log is whole and within the retention, from its beginning.
pub async fn delete_retired(log: &Log, catalog: &Catalog, retention: Duration) -> Result<u64, MaintenanceError> {
    let Some(oldest) = checkpoint::oldest(log).await? else { return Ok(0) };
    if !log.is_below_floor(1).await? && !checkpoint::is_older(log, oldest, retention).await? {
        return Ok(0);
    }
    let needed = &catalog.shared.needed;
    // Other engines may read them; which ones is known when the tables are published next.
    let has_readers =
        needed.is_known() || log.store.list(paths::TABLES).await?.iter().any(|path| paths::is_of_delta_log(path));
    let state = catalog.snapshot();
    let gone =
        state.retired.iter().filter(|(path, seq)| **seq <= oldest && (!has_readers || needed.may_go(path, **seq)));
    let gone: Vec<String> = gone.map(|(path, _)| path.clone()).collect();
    for path in &gone {
        log.store.delete(path).await?;
    }
    let count = gone.len() as u64;
    if count > 0 {
        catalog
            .commit_as(Purpose::Maintenance, 1_024, move |view, _| {
                let known = gone.iter().filter(|path| view.retired.contains_key(path.as_str()));
                Ok::<_, MaintenanceError>((known.cloned().map(Change::ForgetFile).collect(), ()))
            })
            .await?;
    }
    Ok(count)
}

/// Deletes files that somebody wrote who did not get to say so in the log.
pub async fn delete_orphans(log: &Log, catalog: &Catalog) -> Result<u64, MaintenanceError> {
    // What is listed before the state is asked for and not in it, nobody has put into the log by then.
    let found = log.store.list(paths::TABLES).await?;
    let now = log.clock.now();
    let old: Vec<String> = found
        .into_iter()
        .filter(|path| {
            paths::parse_table_file(path).is_some_and(|written| now.timestamp() - written > ORPHANED.num_seconds())
        })
        .collect();
    let is_known = |state: &State, path: &String| {
        state.retired.contains_key(path) || state.files.iter().any(|file| file.meta.path == *path)
    };
    let state = catalog.read().await?;
    if old.iter().all(|path| is_known(&state, path)) {
        return Ok(0);
    }
    // Another writer may be stalled in the put that makes one known. An entry of ours takes its slot: it has to decide
    // again, and finds that it is too late. Nothing else is changed by it.
    catalog
        .commit_as(Purpose::Maintenance, 1_024, |view, _| {
            Ok::<_, MaintenanceError>((vec![Change::PutService(view.service.row.clone())], ()))
        })
        .await?;
    let state = catalog.snapshot();
    let mut deleted = 0;
    for path in old {
        if !is_known(&state, &path) {
            log.store.delete(&path).await?;
            deleted += 1;
        }
    }
    Ok(deleted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::tests::golden::file;

    /// Under steady writes segments become due again and again; the others must not wait until that ends.
    #[test]
    fn the_table_with_the_most_runs_is_merged_first_and_not_all_of_them_at_once() {
        let mut state = State::empty();
        assert!(choose(&state, 2).is_none());
        let mut numbers = 0..;
        for (table, runs) in [(ColdTable::FlowSegments, 3), (ColdTable::Objects, 1), (ColdTable::References, 100)] {
            for number in numbers.by_ref().take(runs) {
                state.put_file(&file(table, number, 1)).unwrap();
            }
        }
        let chosen = choose(&state, 2).unwrap();
        assert!(chosen.len() == MOST_RUNS && chosen.iter().all(|file| file.meta.table == ColdTable::References));
        assert!(choose(&state, 101).is_none());
        Arc::make_mut(&mut state.files).retain(|file| file.meta.table != ColdTable::References);
        let chosen = choose(&state, 3).unwrap();
        assert!(chosen.len() == 3 && chosen.iter().all(|file| file.meta.table == ColdTable::FlowSegments));
    }
}
