//! Which rows of cold files a state does not show, by their places in the files: what other readers of these files have to
//! be told. Reads only pages that may have such rows, and remembers what it found: a row that is hidden stays hidden.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use bytes::Bytes;
use roaring::RoaringBitmap;

use super::MaintenanceError;
use super::change::{Lsn, SegmentKey, object_hash};
use super::cold::{self, ColdError, ColdFile, ColdTable, FileIndex, Page};
use super::pages::{PageCache, ReadError};
use super::state::State;
use super::store::Store;
use crate::domain::ObjectId;

pub struct Hidden {
    store: Arc<dyn Store>,
    cache: PageCache,
    files: HashMap<u64, Known>,
}

/// What is known of a file.
#[derive(Default)]
struct Known {
    hidden: RoaringBitmap,
    /// Of a file of segments: the tombstones that were looked at.
    tombstones: BTreeSet<(SegmentKey, i128, Lsn)>,
    /// Of a file of Objects: the files that it was compared with, itself among them.
    compared: HashSet<u64>,
    /// Likewise: the Objects that are shown by no row of it, whatever other rows say.
    outdated: HashSet<ObjectId>,
}

impl Hidden {
    pub fn new(store: Arc<dyn Store>, cache: PageCache) -> Self {
        Self { store, cache, files: HashMap::new() }
    }

    /// Forgets all but these files.
    pub fn retain(&mut self, files: &[Arc<ColdFile>]) {
        let kept: HashSet<u64> = files.iter().map(|file| file.id).collect();
        self.files.retain(|id, _| kept.contains(id));
        for known in self.files.values_mut() {
            known.compared.retain(|id| kept.contains(id));
        }
    }

    /// Of a file of segments: what tombstones hide, and what running deletions cover.
    pub async fn of_segments(
        &mut self,
        state: &State,
        file: &Arc<ColdFile>,
    ) -> Result<RoaringBitmap, MaintenanceError> {
        let known = self.files.remove(&file.id).unwrap_or_default();
        let outcome = self.segments(state, file, known).await;
        let (known, hidden) = outcome?;
        self.files.insert(file.id, known);
        Ok(hidden)
    }

    async fn segments(
        &self,
        state: &State,
        file: &Arc<ColdFile>,
        mut known: Known,
    ) -> Result<(Known, RoaringBitmap), MaintenanceError> {
        for (from, to, lsn) in state.tombstones.iter() {
            if !file.may_have_hidden(from, to, lsn) || known.tombstones.contains(&(from, to, lsn)) {
                continue;
            }
            let all_older = file.meta.max_lsn < lsn;
            let hides = |page: &Page, row: usize| Ok(page.lsn(row) < lsn);
            self.stretch(file, (from, to), all_older, hides, &mut known.hidden).await?;
            known.tombstones.insert((from, to, lsn));
        }
        // Deletions that run go forward with each commit, so that nothing is remembered of them.
        let mut hidden = known.hidden.clone();
        for request in state.unfinished_deletions.values().flatten() {
            let remaining = request.timerange_remaining;
            if remaining.is_never() {
                continue;
            }
            let from = SegmentKey { flow_id: request.flow_id, start: remaining.start_key() };
            // Whatever starts within and has a successor there ends within.
            let covers = |page: &Page, row: usize| Ok(request.covers(&page.segment(row)?));
            let keys = (from, remaining.end_key());
            self.stretch(file, keys, request.object_id.is_none(), covers, &mut hidden).await?;
        }
        Ok((known, hidden))
    }

    /// Adds the rows between two keys for which `hides` holds. `inner` says that it holds for all but those at the ends.
    async fn stretch(
        &self,
        file: &Arc<ColdFile>,
        (from, to): (SegmentKey, i128),
        inner: bool,
        hides: impl Fn(&Page, usize) -> Result<bool, ColdError>,
        hidden: &mut RoaringBitmap,
    ) -> Result<(), MaintenanceError> {
        let (from, to) = (from.to_bytes(), SegmentKey { start: to, ..from }.to_bytes());
        if !file.may_hold_between(&from, &to) {
            return Ok(());
        }
        let index = self.cache.index_of(file).await?;
        for number in index.pages_in(&from, &to) {
            let first = row_number(file, index.first_row(number))?;
            let next = number + 1;
            if inner && index.first_key(number) >= &from[..] && next < index.pages() && index.first_key(next) < &to[..]
            {
                hidden.insert_range(first..row_number(file, index.first_row(next))?);
                continue;
            }
            let page = self.cache.page_of(file, number).await?;
            for row in page.lower_bound(&from)..page.lower_bound(&to) {
                if hides(&page, row).map_err(|error| self.damaged(error))? {
                    hidden.insert(first.saturating_add(row_number(file, row as u64)?));
                }
            }
        }
        Ok(())
    }

    /// Of files of Objects, as many as there are: rows for which there is a newer one, rows that say that an Object is
    /// gone, and those of Objects that are condemned or whose newest row is in memory alone.
    pub async fn of_objects(
        &mut self,
        state: &State,
        files: &[Arc<ColdFile>],
    ) -> Result<Vec<RoaringBitmap>, MaintenanceError> {
        for file in files {
            if !self.files.contains_key(&file.id) {
                let hidden = self.gone(file).await?;
                self.files.insert(file.id, Known { hidden, ..Known::default() });
            }
        }
        for (place, one) in files.iter().enumerate() {
            for other in files.get(place..).unwrap_or_default() {
                let compared = self.files.get(&one.id).is_some_and(|known| known.compared.contains(&other.id));
                if compared {
                    continue;
                }
                // Files of one run do not overlap, but an id may have had rows in two places.
                for (file, row) in self.older(one, other).await? {
                    self.files.entry(file).or_default().hidden.insert(row);
                }
                self.files.entry(one.id).or_default().compared.insert(other.id);
            }
        }
        let in_memory = state.objects.iter().filter(|(_, hot)| hot.row.is_some() && !hot.is_at_rest());
        let outdated: Vec<ObjectId> = state.condemned.iter().chain(in_memory.map(|(id, _)| id)).cloned().collect();
        let mut all = Vec::new();
        for file in files {
            let mut rows = Vec::new();
            let mut seen = self.files.get(&file.id).map(|known| known.outdated.clone()).unwrap_or_default();
            seen.retain(|id| state.condemned.contains(id) || state.objects.contains_key(id));
            for id in &outdated {
                if seen.insert(id.clone()) {
                    rows.extend(self.rows_of(file, id).await?);
                }
            }
            let known = self.files.entry(file.id).or_default();
            known.outdated = seen;
            known.hidden.extend(rows);
            all.push(known.hidden.clone());
        }
        Ok(all)
    }

    /// Rows that say that their Object is gone.
    async fn gone(&self, file: &Arc<ColdFile>) -> Result<RoaringBitmap, MaintenanceError> {
        let mut gone = RoaringBitmap::new();
        let Some(column) = ColdTable::Objects.schema().fields().iter().position(|field| field.name() == "deleted")
        else {
            return Ok(gone);
        };
        let index = self.cache.index_of(file).await?;
        for group in 0..index.row_groups() {
            let pages = index.pages_of(group);
            let first = row_number(file, index.first_row(pages.start))?;
            let batch = self.cache.read_through(file, &index, pages, Some(&[column])).await?;
            let Some(deleted) = batch.column_by_name("deleted").and_then(|column| column.as_boolean_opt()) else {
                continue;
            };
            if deleted.null_count() == deleted.len() {
                continue;
            }
            let rows = deleted.iter().zip(first..).filter(|(deleted, _)| *deleted == Some(true));
            gone.extend(rows.map(|(_, row)| row));
        }
        Ok(gone)
    }

    /// Rows of two files (or within one) for which the other, or the same, has a newer one: file and row.
    async fn older(&self, one: &Arc<ColdFile>, other: &Arc<ColdFile>) -> Result<Vec<(u64, u32)>, MaintenanceError> {
        let same = one.id == other.id;
        let (first, second) = (self.ids(one).await?, if same { Vec::new() } else { self.ids(other).await? });
        let pairs = if same { within(&first) } else { between(&first, &second) };
        let mut older = Vec::new();
        for (row, other_row) in pairs {
            let (page, at) = self.row(one, row).await?;
            let (other_page, other_at) = self.row(other, other_row).await?;
            // Hashes that are equal are no ids that are.
            if page.object_id(at) == other_page.object_id(other_at) {
                let is_older = page.lsn(at) < other_page.lsn(other_at);
                older.push(if is_older { (one.id, row) } else { (other.id, other_row) });
            }
        }
        Ok(older)
    }

    /// Hashes and rows of all ids, sorted.
    async fn ids(&self, file: &Arc<ColdFile>) -> Result<Vec<(u64, u32)>, MaintenanceError> {
        let index = self.cache.index_of(file).await?;
        let mut ids = Vec::new();
        let ranges: Vec<_> = (0..index.all_id_blocks()).map(|block| index.id_block_range(block)).collect();
        let Some((first, last)) = ranges.first().zip(ranges.last()) else { return Ok(ids) };
        let list = first.start..last.end;
        let whole = self.store.read_ranges(&file.meta.path, vec![list]).await?;
        let whole: Bytes = whole.into_iter().next().unwrap_or_default();
        for (block, range) in (0..).zip(&ranges) {
            let at = |place: u64| usize::try_from(place.saturating_sub(first.start)).unwrap_or(usize::MAX);
            let (start, end) = (at(range.start).min(whole.len()), at(range.end).min(whole.len()));
            let bytes = index.checked_id_block(block, whole.slice(start..end)).map_err(|error| self.damaged(error))?;
            for (hash, row) in cold::id_entries(&bytes) {
                ids.push((hash, row_number(file, row)?));
            }
        }
        Ok(ids)
    }

    async fn row(&self, file: &Arc<ColdFile>, row: u32) -> Result<(Arc<Page>, usize), MaintenanceError> {
        let index = self.cache.index_of(file).await?;
        let place = index.page_of_row(row.into());
        let (page, at) = place.ok_or_else(|| self.damaged(too_far(file)))?;
        Ok((self.cache.page_of(file, page).await?, at))
    }

    /// Rows of one Object.
    async fn rows_of(&self, file: &Arc<ColdFile>, id: &ObjectId) -> Result<Vec<u32>, MaintenanceError> {
        let index: Arc<FileIndex> = self.cache.index_of(file).await?;
        let mut rows = Vec::new();
        if !index.might_hold_object(id) {
            return Ok(rows);
        }
        for (number, row) in self.cache.rows_of(file, &index, object_hash(id)).await? {
            if self.cache.page_of(file, number).await?.object_id(row) == Some(id.as_str()) {
                rows.push(row_number(file, index.first_row(number).saturating_add(row as u64))?);
            }
        }
        Ok(rows)
    }

    fn damaged(&self, error: ColdError) -> MaintenanceError {
        ReadError::Damaged { location: self.store.location(&error.path), reason: error.reason }.into()
    }
}

/// Files have no more than 2^24 rows, or their ids could not be listed.
fn row_number(file: &ColdFile, row: u64) -> Result<u32, ColdError> {
    u32::try_from(row).map_err(|_| too_far(file))
}

fn too_far(file: &ColdFile) -> ColdError {
    ColdError {
        path: file.meta.path.clone(),
        reason: "it has more rows than it may have, or fewer than it says".into(),
    }
}

/// Pairs of rows of a sorted list with the same hash.
fn within(ids: &[(u64, u32)]) -> Vec<(u32, u32)> {
    let mut pairs = Vec::new();
    for same in ids.chunk_by(|(one, _), (next, _)| one == next) {
        for (place, (_, row)) in same.iter().enumerate() {
            pairs.extend(same.iter().skip(place + 1).map(|(_, other)| (*row, *other)));
        }
    }
    pairs
}

/// Pairs of rows of two sorted lists with the same hash, in the order of the first's rows.
fn between(one: &[(u64, u32)], other: &[(u64, u32)]) -> Vec<(u32, u32)> {
    let (few, many, swapped) = if one.len() <= other.len() { (one, other, false) } else { (other, one, true) };
    let mut pairs = Vec::new();
    let mut rest = many;
    for (hash, row) in few {
        rest = rest.get(rest.partition_point(|(other, _)| other < hash)..).unwrap_or_default();
        for (_, other) in rest.iter().take_while(|(other, _)| other == hash) {
            pairs.push(if swapped { (*other, *row) } else { (*row, *other) });
        }
    }
    pairs.sort_unstable();
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_equal_hashes_are_paired_in_whatever_list_they_are() {
        let one = [(1, 5), (3, 2), (3, 9), (7, 0)];
        let other = [(0, 1), (3, 4), (7, 3), (7, 8), (9, 9), (9, 10)];
        assert_eq!(between(&one, &other), [(0, 3), (0, 8), (2, 4), (9, 4)]);
        let mut turned: Vec<_> = between(&other, &one).into_iter().map(|(one, other)| (other, one)).collect();
        turned.sort_unstable();
        assert_eq!(turned, between(&one, &other));
        assert_eq!(within(&one), [(2, 9)]);
        assert_eq!(within(&other), [(3, 8), (9, 10)]);
    }
}
