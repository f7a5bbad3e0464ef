//! The one scan of a large table: the rows of a state that are visible, from memory and from cold files, as Arrow batches.
//! [`super::View`] answers questions of a few rows; this reads many, and keeps none (ADR 0010).
//!
//! A scan holds a stretch of pages of each file that it reads from, and the batch that it makes.

use std::collections::{BTreeSet, VecDeque};
use std::ops::{Bound, Range};
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{filter_record_batch, interleave_record_batch};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use super::Catalog;
use super::change::{ReferenceKey, SegmentKey};
use super::cold::{self, ColdFile, ColdTable, FileIndex, ObjectEntry, Page, Reference};
use super::pages::{PageCache, ReadError};
use super::state::{SegmentScan, State};
use super::view::View;
use crate::domain::{FlowId, ObjectId, TimeRange};

/// Rows of a batch, about.
const BATCH_ROWS: usize = 8_192;
/// Pages of a file that are read at once...
const PAGES_AT_ONCE: u32 = 16;
/// ...and up to how many, in all, are taken from those that are kept for short questions, and kept for them.
const SHORT: u32 = 4;

pub type Batches = BoxStream<'static, Result<RecordBatch, ReadError>>;

/// Which rows of a table are wanted.
#[derive(Debug, Clone)]
pub struct TableScan {
    pub table: ColdTable,
    /// By name, in this order. Without any, rows can still be counted.
    pub columns: Vec<String>,
    /// Only segments of these Flows.
    pub flows: Option<BTreeSet<FlowId>>,
    /// Where Flows are named: only segments that overlap it.
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
        Self { table, columns, flows: None, timerange: TimeRange::ETERNITY, objects: None, order: None, limit: None }
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
        if is_merged(state, request) || request.objects.is_some() {
            return 1;
        }
        (state.files_of(request.table).count() + 1).min(most).max(1)
    }

    /// One of `parts` parts of a scan, which have no row in common. Its limit is for each of them.
    pub fn scan_part(&self, state: Arc<State>, request: TableScan, part: usize, parts: usize) -> Batches {
        let limit = request.limit;
        let scan =
            Scan { cache: self.shared.cache.clone(), state, schema: request.schema(), request, ranges: Vec::new() };
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

/// Whether rows of several files have to be seen together.
fn is_merged(state: &State, request: &TableScan) -> bool {
    match request.table {
        ColdTable::FlowSegments => request.order.is_some(),
        // An older row may be in another file.
        ColdTable::Objects => state.files_of(ColdTable::Objects).count() > 1,
        ColdTable::References => false,
    }
}

struct Scan {
    cache: PageCache,
    state: Arc<State>,
    schema: SchemaRef,
    request: TableScan,
    /// Of keys of segments, in order; they do not overlap.
    ranges: Vec<(SegmentKey, SegmentKey)>,
}

const FIRST: SegmentKey = SegmentKey { flow_id: FlowId::MIN, start: i128::MIN };
const END: SegmentKey = SegmentKey { flow_id: FlowId::MAX, start: i128::MAX };

impl Scan {
    async fn rows(mut self, part: usize, parts: usize) -> Result<Batches, ReadError> {
        let merged = is_merged(&self.state, &self.request);
        if let Some(ids) = &self.request.objects {
            let batch = if part == 0 { self.objects(ids).await? } else { None };
            return Ok(stream::iter(batch.map(Ok)).boxed());
        }
        self.ranges = self.key_ranges().await?;
        let scan = Arc::new(self);
        let hot = Input::Hot(HotRows::new(scan.clone()));
        let cold = scan.files().map(|file| Input::Cold(ColdRows::new(scan.clone(), file.clone())));
        if !merged {
            let inputs: Vec<Input> = std::iter::once(hot).chain(cold).skip(part).step_by(parts).collect();
            return Ok(stream::iter(inputs).flat_map(|input| input.batches()).boxed());
        }
        if part > 0 {
            return Ok(stream::empty().boxed());
        }
        if scan.request.table == ColdTable::FlowSegments {
            return Ok(Merge::new(scan.clone(), std::iter::once(hot).chain(cold).collect()).batches());
        }
        // Hot Objects say all there is to say of them, so that their cold rows are left out: nothing is to be merged.
        let cold = Merge::new(scan.clone(), cold.collect());
        Ok(hot.batches().chain(cold.batches()).boxed())
    }

    async fn objects(&self, ids: &BTreeSet<ObjectId>) -> Result<Option<RecordBatch>, ReadError> {
        let mut found = Vec::new();
        for id in ids {
            let question = |pages: &_| View::new(&self.state, pages).stored_object(id);
            found.extend(self.cache.answer(question).await?);
        }
        let rows: Vec<_> = found.iter().map(|stored| (stored.lsn, ObjectEntry::Is(&stored.row))).collect();
        let batch = cold::objects_batch(&rows).map_err(|error| self.unfit(error))?;
        Ok(Some(self.project(&batch)?).filter(|batch| batch.num_rows() > 0))
    }

    /// Where the wanted segments start.
    async fn key_ranges(&self) -> Result<Vec<(SegmentKey, SegmentKey)>, ReadError> {
        let Some(flows) = &self.request.flows else { return Ok(vec![(FIRST, END)]) };
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

    fn files(&self) -> impl Iterator<Item = &Arc<ColdFile>> {
        self.state.files_of(self.request.table).filter(|file| {
            self.request.table != ColdTable::FlowSegments
                || self.ranges.iter().any(|(from, to)| file.may_hold_between(&from.to_bytes(), &to.to_bytes()))
        })
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
            ColdTable::Objects | ColdTable::References => true,
        }
    }

    /// Columns that are needed of a file.
    fn is_needed(&self, looked_at: bool, name: &str) -> bool {
        let keys: &[&str] = match self.request.table {
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

    /// The wanted columns; null where a file is older than the column.
    fn project(&self, batch: &RecordBatch) -> Result<RecordBatch, ReadError> {
        cold::project(batch, &self.schema).map_err(|error| self.unfit(error))
    }

    fn unfit(&self, error: impl std::fmt::Display) -> ReadError {
        ReadError::Rows { table: self.request.table.name(), reason: error.to_string() }
    }
}

/// Visible rows of one place, in order.
enum Input {
    Hot(HotRows),
    Cold(ColdRows),
}

/// Some of them; with their keys where they were looked at.
enum Chunk {
    Keyed(Arc<Page>),
    Rows(RecordBatch),
}

impl Input {
    async fn next(&mut self) -> Result<Option<Chunk>, ReadError> {
        match self {
            Self::Hot(rows) => rows.next().map(|batch| batch.map(Chunk::Rows)),
            Self::Cold(rows) => rows.next().await,
        }
    }

    fn scan(&self) -> &Arc<Scan> {
        match self {
            Self::Hot(rows) => &rows.scan,
            Self::Cold(rows) => &rows.scan,
        }
    }

    fn batches(self) -> Batches {
        let batches = stream::try_unfold(self, |mut input| async move {
            while let Some(chunk) = input.next().await? {
                let batch = match chunk {
                    Chunk::Rows(batch) => batch,
                    Chunk::Keyed(page) => without_gone(input.scan(), &page)?,
                };
                if batch.num_rows() > 0 {
                    return Ok(Some((input.scan().project(&batch)?, input)));
                }
            }
            Ok(None)
        });
        batches.boxed()
    }
}

fn without_gone(scan: &Scan, page: &Page) -> Result<RecordBatch, ReadError> {
    let is_there: BooleanArray = (0..page.len()).map(|row| Some(!page.is_deleted(row))).collect();
    if is_there.true_count() == page.len() {
        return Ok(page.batch().clone());
    }
    filter_record_batch(page.batch(), &is_there).map_err(|error| scan.unfit(error))
}

/// Rows that are in memory, a batch at a time.
struct HotRows {
    scan: Arc<Scan>,
    /// Of segments: what is left of the ranges.
    ranges: VecDeque<(SegmentKey, SegmentKey)>,
    object: Bound<ObjectId>,
    reference: Bound<ReferenceKey>,
}

impl HotRows {
    fn new(scan: Arc<Scan>) -> Self {
        let ranges = scan.ranges.iter().copied().collect();
        Self { scan, ranges, object: Bound::Unbounded, reference: Bound::Unbounded }
    }

    fn next(&mut self) -> Result<Option<RecordBatch>, ReadError> {
        let batch = match self.scan.request.table {
            ColdTable::FlowSegments => self.segments(),
            ColdTable::Objects => self.objects(),
            ColdTable::References => self.references(),
        };
        batch.transpose().map_err(|error| self.scan.unfit(error))
    }

    fn segments(&mut self) -> Option<Result<RecordBatch, cold::ColdError>> {
        let state = &self.scan.state;
        let mut rows = Vec::new();
        while rows.len() < BATCH_ROWS
            && let Some((from, to)) =
                if self.scan.backward() { self.ranges.pop_back() } else { self.ranges.pop_front() }
        {
            let visible = |key: &SegmentKey, segment: &_| {
                !state.unfinished(key.flow_id).iter().any(|request| request.covers(segment))
            };
            let found = state.segments.range(from..to).filter(|(key, stored)| visible(key, &stored.row));
            let room = BATCH_ROWS - rows.len();
            if self.scan.backward() {
                rows.extend(found.rev().take(room));
            } else {
                rows.extend(found.take(room));
            }
            if rows.len() < BATCH_ROWS {
                continue;
            }
            if let Some((last, _)) = rows.last() {
                if self.scan.backward() {
                    self.ranges.push_back((from, **last));
                } else {
                    self.ranges.push_front((SegmentKey { start: last.start.saturating_add(1), ..**last }, to));
                }
            }
        }
        if self.scan.backward() {
            rows.reverse();
        }
        let rows: Vec<_> = rows.into_iter().map(|(_, stored)| (stored.lsn, &*stored.row)).collect();
        (!rows.is_empty()).then(|| cold::segments_batch(&rows))
    }

    fn objects(&mut self) -> Option<Result<RecordBatch, cold::ColdError>> {
        let objects = &self.scan.state.objects;
        let rest = objects.range((self.object.clone(), Bound::Unbounded));
        let rows: Vec<_> =
            rest.filter_map(|(id, hot)| Some((id, hot.lsn, hot.row.as_deref()?))).take(BATCH_ROWS).collect();
        let last = rows.last().map(|(id, ..)| (*id).clone())?;
        self.object = Bound::Excluded(last);
        let rows: Vec<_> = rows.into_iter().map(|(_, lsn, object)| (lsn, ObjectEntry::Is(object))).collect();
        Some(cold::objects_batch(&rows))
    }

    fn references(&mut self) -> Option<Result<RecordBatch, cold::ColdError>> {
        let state = &self.scan.state;
        let rest = state.references.range((self.reference, Bound::Unbounded));
        let rows: Vec<_> = rest
            .filter(|(key, _)| state.flow(key.segment.flow_id).is_some())
            .map(|(key, lsn)| Reference { key: *key, lsn: *lsn })
            .take(BATCH_ROWS)
            .collect();
        self.reference = Bound::Excluded(rows.last()?.key);
        Some(cold::references_batch(&rows))
    }
}

/// Visible rows of a cold file, some pages at a time.
struct ColdRows {
    scan: Arc<Scan>,
    file: Arc<ColdFile>,
    /// Once it is loaded: the index, and which pages are still to be read.
    index: Option<Arc<FileIndex>>,
    pages: VecDeque<Range<u32>>,
    short: bool,
}

impl ColdRows {
    fn new(scan: Arc<Scan>, file: Arc<ColdFile>) -> Self {
        Self { scan, file, index: None, pages: VecDeque::new(), short: false }
    }

    async fn next(&mut self) -> Result<Option<Chunk>, ReadError> {
        let index = match &self.index {
            Some(index) => index.clone(),
            None => {
                let index = self.scan.cache.answer(|pages| pages.index(&self.file)).await?;
                self.plan(&index);
                self.index.insert(index).clone()
            }
        };
        let next = |pages: &mut VecDeque<_>| if self.scan.backward() { pages.pop_back() } else { pages.pop_front() };
        while let Some(pages) = next(&mut self.pages) {
            let chunk = self.read(&index, pages).await?;
            if chunk.len() > 0 {
                return Ok(Some(chunk));
            }
        }
        Ok(None)
    }

    /// Which pages are to be read, how many at once.
    fn plan(&mut self, index: &FileIndex) {
        let mut wanted: Vec<Range<u32>> = Vec::new();
        if self.scan.request.table == ColdTable::FlowSegments {
            for (from, to) in &self.scan.ranges {
                let pages = index.pages_in(&from.to_bytes(), &to.to_bytes());
                match wanted.last_mut() {
                    Some(last) if pages.start <= last.end => last.end = last.end.max(pages.end),
                    _ if pages.is_empty() => {}
                    _ => wanted.push(pages),
                }
            }
        } else {
            wanted.push(0..index.pages());
        }
        self.short = wanted.iter().map(|pages| pages.end - pages.start).sum::<u32>() <= SHORT;
        let at_once = if self.short { 1 } else { PAGES_AT_ONCE };
        for mut pages in wanted {
            while !pages.is_empty() {
                let of_group = index.pages_of(index.row_group_of(pages.start));
                let end = pages.end.min(of_group.end).min(pages.start + at_once);
                self.pages.push_back(pages.start..end);
                pages.start = end;
            }
        }
    }

    async fn read(&self, index: &FileIndex, pages: Range<u32>) -> Result<Chunk, ReadError> {
        let scan = &self.scan;
        if self.short {
            let page = scan.cache.answer(|cached| cached.page(&self.file, pages.start)).await?;
            return self.look_at(page);
        }
        let looked_at = scan.is_looked_at(&self.file);
        let columns = index.column_numbers(|name| scan.is_needed(looked_at, name));
        let batch = scan.cache.read_through(&self.file, index, pages, Some(&columns)).await?;
        if !looked_at {
            return Ok(Chunk::Rows(batch));
        }
        self.look_at(self.page(batch)?)
    }

    fn page(&self, batch: RecordBatch) -> Result<Arc<Page>, ReadError> {
        let page = Page::new(self.scan.request.table, batch, &self.file.meta.path);
        page.map(Arc::new).map_err(|error| self.scan.cache.damaged(error))
    }

    fn look_at(&self, page: Arc<Page>) -> Result<Chunk, ReadError> {
        let shown = (0..page.len()).map(|row| self.scan.shows(&page, row)).collect::<Result<Vec<_>, _>>()?;
        if shown.iter().all(|shown| *shown) {
            return Ok(Chunk::Keyed(page));
        }
        let batch = filter_record_batch(page.batch(), &BooleanArray::from(shown));
        let batch = batch.map_err(|error| self.scan.unfit(error))?;
        Ok(Chunk::Keyed(self.page(batch)?))
    }
}

impl Chunk {
    fn len(&self) -> usize {
        match self {
            Self::Keyed(page) => page.len(),
            Self::Rows(batch) => batch.num_rows(),
        }
    }
}

/// Rows of several places in the order of their keys; of those with the same key the newest.
struct Merge {
    scan: Arc<Scan>,
    heads: Vec<Head>,
    /// Rows that follow each other, by batch.
    stretches: Vec<(RecordBatch, Range<usize>)>,
    waiting: usize,
}

/// Where a place's next row is.
struct Head {
    input: Input,
    at: Option<At>,
}

struct At {
    page: Arc<Page>,
    /// The wanted columns of the page.
    batch: RecordBatch,
    rows: Range<usize>,
    /// Of the next row.
    key: Vec<u8>,
}

impl At {
    fn row(&self, backward: bool) -> usize {
        if backward { self.rows.end.saturating_sub(1) } else { self.rows.start }
    }

    fn set_key(&mut self, backward: bool) {
        let row = self.row(backward);
        self.page.write_key(row, &mut self.key);
    }
}

impl Head {
    /// Loads the next rows, where those that are loaded have been taken.
    async fn fill(&mut self) -> Result<(), ReadError> {
        while self.at.as_ref().is_none_or(|at| at.rows.is_empty()) {
            let Some(chunk) = self.input.next().await? else {
                self.at = None;
                return Ok(());
            };
            let scan = self.input.scan();
            let page = match chunk {
                Chunk::Keyed(page) => page,
                Chunk::Rows(batch) => {
                    let page = Page::new(scan.request.table, batch, scan.request.table.name());
                    Arc::new(page.map_err(|error| scan.unfit(error))?)
                }
            };
            let batch = scan.project(page.batch())?;
            let mut at = At { rows: 0..page.len(), page, batch, key: Vec::new() };
            at.set_key(scan.backward());
            self.at = Some(at);
        }
        Ok(())
    }
}

impl Merge {
    fn new(scan: Arc<Scan>, inputs: Vec<Input>) -> Self {
        let heads = inputs.into_iter().map(|input| Head { input, at: None }).collect();
        Self { scan, heads, stretches: Vec::new(), waiting: 0 }
    }

    fn batches(self) -> Batches {
        let batches = stream::try_unfold(self, |mut merge| async move {
            let batch = merge.next().await?;
            Ok(batch.map(|batch| (batch, merge)))
        });
        batches.boxed()
    }

    async fn next(&mut self) -> Result<Option<RecordBatch>, ReadError> {
        let enough = self.scan.request.limit.map_or(BATCH_ROWS, |limit| limit.clamp(1, BATCH_ROWS));
        while self.waiting < enough {
            for head in &mut self.heads {
                head.fill().await?;
            }
            if !self.step() {
                break;
            }
        }
        self.flush().map_err(|error| self.scan.unfit(error))
    }

    /// Takes the rows that come next from one place, as many as come before those of all others; false at the end.
    fn step(&mut self) -> bool {
        let backward = self.scan.backward();
        let mut keys: Vec<(&[u8], usize)> = Vec::new();
        for (number, head) in self.heads.iter().enumerate() {
            keys.extend(head.at.as_ref().map(|at| (&at.key[..], number)));
        }
        keys.sort_unstable();
        if backward {
            keys.reverse();
        }
        let Some((first, number)) = keys.first().copied() else { return false };
        let same: Vec<usize> = keys.iter().take_while(|(key, _)| *key == first).map(|(_, number)| *number).collect();
        let rows = match (keys.get(1), self.heads.get(number).and_then(|head| head.at.as_ref())) {
            (_, None) => return false,
            (None, Some(at)) => at.rows.clone(),
            (Some(_), Some(at)) if same.len() > 1 => at.row(backward)..at.row(backward) + 1,
            (Some((limit, _)), Some(at)) if backward => at.page.lower_bound(limit).max(at.rows.start)..at.rows.end,
            (Some((limit, _)), Some(at)) => at.rows.start..at.page.lower_bound(limit).min(at.rows.end),
        };
        if same.len() == 1 {
            self.take(number, rows);
            return true;
        }
        let newest = same.iter().copied().max_by_key(|number| {
            let at = self.heads.get(*number).and_then(|head| head.at.as_ref());
            at.map(|at| at.page.lsn(at.row(backward)))
        });
        for number in same {
            self.take_one(number, Some(number) == newest);
        }
        true
    }

    fn take_one(&mut self, number: usize, shown: bool) {
        let backward = self.scan.backward();
        let Some(at) = self.heads.get_mut(number).and_then(|head| head.at.as_mut()) else { return };
        let row = at.row(backward);
        if shown && !at.page.is_deleted(row) {
            self.stretches.push((at.batch.clone(), row..row + 1));
            self.waiting += 1;
        }
        if backward {
            at.rows.end = row;
        } else {
            at.rows.start = row + 1;
        }
        if !at.rows.is_empty() {
            at.set_key(backward);
        }
    }

    fn take(&mut self, number: usize, rows: Range<usize>) {
        let backward = self.scan.backward();
        let Some(at) = self.heads.get_mut(number).and_then(|head| head.at.as_mut()) else { return };
        if backward {
            at.rows.end = rows.start;
        } else {
            at.rows.start = rows.end;
        }
        if !at.rows.is_empty() {
            at.set_key(backward);
        }
        let mut from = rows.start;
        for gone in rows.clone().filter(|row| at.page.is_deleted(*row)).chain([rows.end]) {
            if from < gone {
                self.stretches.push((at.batch.clone(), from..gone));
                self.waiting += gone - from;
            }
            from = gone + 1;
        }
    }

    /// What waits, as one batch.
    fn flush(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        let stretches = std::mem::take(&mut self.stretches);
        let waiting = std::mem::take(&mut self.waiting);
        let backward = self.scan.backward();
        match &stretches[..] {
            [] => return Ok(None),
            [(batch, rows)] if !backward => return Ok(Some(batch.slice(rows.start, rows.len()))),
            _ if self.scan.schema.fields().is_empty() => {
                let rows = RecordBatchOptions::new().with_row_count(Some(waiting));
                return RecordBatch::try_new_with_options(self.scan.schema.clone(), Vec::new(), &rows).map(Some);
            }
            _ => {}
        }
        let batches: Vec<&RecordBatch> = stretches.iter().map(|(batch, _)| batch).collect();
        let mut places = Vec::with_capacity(waiting);
        for (number, (_, rows)) in stretches.iter().enumerate() {
            if backward {
                places.extend(rows.clone().rev().map(|row| (number, row)));
            } else {
                places.extend(rows.clone().map(|row| (number, row)));
            }
        }
        interleave_record_batch(&batches, &places).map(Some)
    }
}
