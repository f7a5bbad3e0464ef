//! The one scan of a large table: the rows of a state that are visible, from memory and from cold files, as Arrow batches.
//! [`super::View`] answers questions of a few rows; this reads many, and keeps none (ADR 0010).
//!
//! A scan falls into pieces, which are read one after another, or by several at the same time. Of each it holds a stretch of
//! pages of the files that it reads from, and the batch that it makes.

mod merge;
mod pieces;
mod rows;

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Schema, SchemaRef};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use super::Catalog;
use super::change::SegmentKey;
use super::cold::{self, ColdFile, ColdTable, FileIndex, ObjectEntry, Page, Reference};
use super::pages::{PageCache, ReadError};
use super::state::{SegmentScan, State};
use super::view::View;
use crate::domain::{FlowId, ObjectId, ObjectPlace, TimeRange};

use pieces::{Pieces, in_both, joined};

/// Rows of a batch, about.
const BATCH_ROWS: usize = 8_192;
/// Up to so many pages, in all, are taken from those that are kept for short questions, and kept for them.
const SHORT: u32 = 4;
/// Pages of a piece, about: so many that a piece is worth its start, so few that parts of a scan get about as much each.
const PIECE_PAGES: u32 = if cfg!(test) { 2 } else { 64 };
const PIECE_ROWS: u64 = if cfg!(test) { 4 } else { 64 * 1_024 };

pub type Batches = BoxStream<'static, Result<RecordBatch, ReadError>>;

/// Which rows of a table are wanted.
#[derive(Debug, Clone)]
pub struct TableScan {
    pub table: ColdTable,
    /// By name, in this order. Without any, rows can still be counted.
    pub columns: Vec<String>,
    /// Only segments of these Flows. Of Objects pages that have none that they brought are left out; others may come along.
    pub flows: Option<BTreeSet<FlowId>>,
    /// Where `flows` says nothing: rows of others are of no use, but may come along. Known only when the scan begins, and not
    /// always to all of its parts.
    pub hint: Option<BTreeSet<FlowId>>,
    /// Likewise of segments, by `object_flow`.
    pub lenders: Option<BTreeSet<String>>,
    /// Only segments that overlap it, where Flows are named; else pages are left out that have none.
    pub timerange: TimeRange,
    /// Only these Objects.
    pub objects: Option<BTreeSet<ObjectId>>,
    /// Of segments.
    pub order: Option<ScanOrder>,
    pub limit: Option<usize>,
}

/// By Flow and start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanOrder {
    Forward,
    Backward,
}

impl TableScan {
    /// All rows, with all columns, in no order.
    pub fn of(table: ColdTable) -> Self {
        let columns = table.schema().fields().iter().map(|field| field.name().clone()).collect();
        Self {
            table,
            columns,
            flows: None,
            hint: None,
            lenders: None,
            timerange: TimeRange::ETERNITY,
            objects: None,
            order: None,
            limit: None,
        }
    }

    /// What its batches are like.
    pub fn schema(&self) -> SchemaRef {
        let fields = self.table.schema().fields();
        let field = |name: &String| fields.find(name).map(|(_, field)| field.clone());
        Arc::new(Schema::new(self.columns.iter().filter_map(field).collect::<Vec<_>>()))
    }
}

impl Catalog {
    /// The rows of a state that are visible.
    pub fn scan(&self, state: Arc<State>, request: TableScan) -> Batches {
        self.scan_part(state, request, 0, 1)
    }

    /// Into how many parts a scan falls that can be read at the same time; `most` of them at most.
    pub fn scan_parts(state: &State, request: &TableScan, most: usize) -> usize {
        if request.order.is_some() || request.objects.is_some() {
            return 1;
        }
        let (rows, _) = state.stored_rows(request.table);
        let pieces = rows / PIECE_ROWS + 1;
        usize::try_from(pieces).unwrap_or(usize::MAX).min(most).max(1)
    }

    /// One of `parts` parts of a scan, which have no row in common. Its limit is for each of them.
    pub fn scan_part(&self, state: Arc<State>, request: TableScan, part: usize, parts: usize) -> Batches {
        let limit = request.limit;
        let (cache, schema) = (self.shared.cache.clone(), request.schema());
        let scan = Scan { cache, state, schema, request, ranges: vec![(FIRST, END)], of_flows: None };
        let rows = stream::once(scan.rows(part, parts.max(1))).try_flatten();
        let batches = stream::try_unfold((rows.boxed(), limit), |(mut rows, limit)| async move {
            if limit == Some(0) {
                return Ok(None);
            }
            let Some(batch) = rows.try_next().await? else { return Ok(None) };
            let taken = limit.map_or(batch.num_rows(), |limit| limit.min(batch.num_rows()));
            let left = limit.map(|limit| limit - taken);
            let batch = batch.slice(0, taken);
            Ok(Some((batch, (rows, left))))
        });
        batches.boxed()
    }
}

/// From a key to another, exclusively.
type Keys = (SegmentKey, SegmentKey);

struct Scan {
    cache: PageCache,
    state: Arc<State>,
    schema: SchemaRef,
    request: TableScan,
    /// Of the wanted segments, in order; they do not overlap.
    ranges: Vec<Keys>,
    /// Where rows of the Flows are that are of use, if not all are: in order, and others may be there, too.
    of_flows: Option<Vec<Keys>>,
}

const FIRST: SegmentKey = SegmentKey { flow_id: FlowId::MIN, start: i128::MIN };
const END: SegmentKey = SegmentKey { flow_id: FlowId::MAX, start: i128::MAX };

impl Scan {
    async fn rows(mut self, part: usize, parts: usize) -> Result<Batches, ReadError> {
        if let Some(ids) = &self.request.objects {
            let batch = if part == 0 { self.objects(ids).await? } else { None };
            return Ok(stream::iter(batch.map(Ok)).boxed());
        }
        match (self.request.table, &self.request.flows, &self.request.hint) {
            (ColdTable::FlowSegments, Some(flows), _) => self.ranges = self.start_keys(flows).await?,
            (table, Some(flows), _) | (table, None, Some(flows)) => self.of_flows = Some(places(table, flows)),
            (_, None, None) => {}
        }
        let scan = Arc::new(self);
        let pieces = Pieces::of(&scan).await?;
        let own = pieces.pieces.into_iter().skip(part).step_by(parts);
        let short = pieces.pages <= SHORT;
        Ok(stream::iter(own).flat_map(move |piece| piece.batches(&scan, short)).boxed())
    }

    async fn objects(&self, ids: &BTreeSet<ObjectId>) -> Result<Option<RecordBatch>, ReadError> {
        // All of them are asked for before any is waited for.
        let question = |pages: &_| {
            let found: Vec<_> = ids.iter().map(|id| View::new(&self.state, pages).stored_object(id)).collect();
            found.into_iter().collect::<Result<Vec<_>, ReadError>>()
        };
        let found: Vec<_> = self.cache.answer(question).await?.into_iter().flatten().collect();
        let rows: Vec<_> = found.iter().map(|stored| (stored.lsn, ObjectEntry::Is(&stored.row))).collect();
        let batch = cold::objects_batch(&rows).map_err(|error| self.unfit(error))?;
        Ok(Some(self.project(&batch)?).filter(|batch| batch.num_rows() > 0))
    }

    /// Where the wanted segments of these Flows start, in order.
    async fn start_keys(&self, flows: &BTreeSet<FlowId>) -> Result<Vec<Keys>, ReadError> {
        let mut ranges = Vec::new();
        for flow_id in flows.iter().copied() {
            let timerange = self.request.timerange;
            let scan = SegmentScan { flow_id, timerange, reverse_order: false, after: None };
            let keys = self.cache.answer(|pages| View::new(&self.state, pages).start_keys(&scan)).await?;
            let key = |start| SegmentKey { flow_id, start };
            ranges.extend(keys.map(|(from, to)| (key(from), key(to))));
        }
        Ok(ranges)
    }

    /// Pages of a file that may have wanted rows.
    fn pages(&self, index: &FileIndex) -> Vec<Range<u32>> {
        let within = |keys: &[Keys]| {
            let pages = keys.iter().map(|(from, to)| index.pages_in(&from.to_bytes(), &to.to_bytes()));
            joined(pages.filter(|pages| !pages.is_empty()))
        };
        let is_of_segments = self.request.table == ColdTable::FlowSegments;
        if is_of_segments && self.request.flows.is_some() {
            return within(&self.ranges);
        }
        let in_time = if is_of_segments && self.request.timerange != TimeRange::ETERNITY {
            self.pages_in_time(index)
        } else {
            std::iter::once(0..index.pages()).collect()
        };
        match &self.of_flows {
            Some(keys) => in_both(&within(keys), &in_time),
            None => in_time,
        }
    }

    /// Pages of segments that may overlap the wanted time: by how far their Flows reach, and of a page within one Flow by its
    /// own start and that of the next page. Segments of a Flow do not overlap each other, unless they are deleted.
    fn pages_in_time(&self, index: &FileIndex) -> Vec<Range<u32>> {
        let timerange = self.request.timerange;
        let (from, to) = (timerange.start_key(), timerange.end_key());
        let (_, all_visible) = self.state.stored_rows(ColdTable::FlowSegments);
        let key = |page| SegmentKey::from_bytes(index.first_key(page));
        let wanted = (0..index.pages()).filter(|page| {
            let Some(first) = key(*page) else { return true };
            let next = key(*page + 1).unwrap_or(END);
            if first.flow_id == next.flow_id && (first.start >= to || (all_visible && next.start <= from)) {
                return false;
            }
            let mut extents = self.state.cold_extents.range(first.flow_id..=next.flow_id);
            extents.any(|(_, extent)| extent.overlaps(&timerange))
        });
        joined(wanted.map(|page| page..page + 1))
    }

    fn backward(&self) -> bool {
        self.request.order == Some(ScanOrder::Backward)
    }

    fn in_ranges(&self, key: SegmentKey) -> bool {
        let next = self.ranges.partition_point(|(from, _)| *from <= key);
        next.checked_sub(1).and_then(|at| self.ranges.get(at)).is_some_and(|(_, to)| key < *to)
    }

    /// Whether a stored row of a cold file is to be seen. Objects that say that they are gone are left for the merge.
    fn shows(&self, page: &Page, row: usize) -> Result<bool, ReadError> {
        let damaged = |error| self.cache.damaged(error);
        let state = &self.state;
        Ok(match self.request.table {
            ColdTable::FlowSegments => {
                let key = page.segment_key(row).map_err(damaged)?;
                if !self.in_ranges(key) || state.tombstones.hide(key, page.lsn(row)) {
                    return Ok(false);
                }
                let requests = state.unfinished(key.flow_id);
                if requests.is_empty() {
                    return Ok(true);
                }
                let segment = page.segment(row).map_err(damaged)?;
                !requests.iter().any(|request| request.covers(&segment))
            }
            ColdTable::Objects => !page.object_id(row).is_some_and(|id| state.objects.contains_key(id)),
            ColdTable::References => {
                let Reference { key, lsn } = page.reference(row).map_err(damaged)?;
                !state.tombstones.hide(key.segment, lsn) && state.flow(key.segment.flow_id).is_some()
            }
        })
    }

    /// Whether rows of the file have to be looked at one by one.
    fn is_looked_at(&self, file: &ColdFile) -> bool {
        let state = &self.state;
        match self.request.table {
            ColdTable::FlowSegments => {
                let whole = self.request.flows.is_none();
                let deleted = state.tombstones.iter().any(|(from, to, lsn)| file.may_have_hidden(from, to, lsn));
                !whole || deleted || !state.unfinished_deletions.is_empty() || self.request.order.is_some()
            }
            // Pages of which another place has rows, too, are merged; of others only the word counts that an Object is gone.
            ColdTable::Objects => false,
            ColdTable::References => true,
        }
    }

    /// Columns that are needed of a file.
    fn is_needed(&self, looked_at: bool, name: &str) -> bool {
        let keys: &[&str] = match self.request.table {
            ColdTable::Objects if !looked_at => &["deleted"],
            _ if !looked_at => &[],
            ColdTable::FlowSegments if !self.state.unfinished_deletions.is_empty() => return true,
            ColdTable::FlowSegments => &["flow_id", "start_seconds", "start_nanoseconds", "start_inclusive"],
            ColdTable::Objects => {
                &["id", "first_flow", "start_seconds", "start_nanoseconds", "start_inclusive", "deleted"]
            }
            ColdTable::References => {
                &["object_hash", "flow_id", "start_seconds", "start_nanoseconds", "start_inclusive"]
            }
        };
        // Something has to tell how many rows there are.
        name == "lsn_seq"
            || (looked_at && name == "lsn_index")
            || keys.contains(&name)
            || self.request.columns.iter().any(|column| column == name)
    }

    /// Objects less those that a row says are gone.
    fn without_gone(&self, batch: RecordBatch) -> Result<RecordBatch, ReadError> {
        let Some(deleted) = batch.column_by_name("deleted").and_then(|column| column.as_boolean_opt()) else {
            return Ok(batch);
        };
        if deleted.true_count() == 0 {
            return Ok(batch);
        }
        let is_there: BooleanArray = deleted.iter().map(|deleted| Some(deleted != Some(true))).collect();
        filter_record_batch(&batch, &is_there).map_err(|error| self.unfit(error))
    }

    /// The wanted columns; null where a file is older than the column.
    fn project(&self, batch: &RecordBatch) -> Result<RecordBatch, ReadError> {
        cold::project(batch, &self.schema).map_err(|error| self.unfit(error))
    }

    fn unfit(&self, error: impl std::fmt::Display) -> ReadError {
        ReadError::Rows { table: self.request.table.name(), reason: error.to_string() }
    }
}

/// Where a table has rows of these Flows, in order.
fn places(table: ColdTable, flows: &BTreeSet<FlowId>) -> Vec<Keys> {
    // Init Objects are all at one place, whoever brought them.
    let ObjectPlace { flow_id, start } = ObjectPlace::OF_INIT_OBJECTS;
    let of_init = (SegmentKey { flow_id, start }, SegmentKey { flow_id, start: start.saturating_add(1) });
    let of_init = (table == ColdTable::Objects).then_some(of_init);
    let key = |flow_id, start| SegmentKey { flow_id, start };
    let of_flows = flows.iter().map(|flow_id| (key(*flow_id, i128::MIN), key(*flow_id, i128::MAX)));
    of_init.into_iter().chain(of_flows).collect()
}
