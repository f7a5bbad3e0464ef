//! The one scan of a large table: the rows of a state that are visible, from memory and from cold files, as Arrow batches.
//! [`super::View`] answers questions of a few rows; this reads many, and keeps none (ADR 0010).
//!
//! A scan holds a stretch of pages of each file that it reads from, and the batch that it makes.

use std::collections::{BTreeSet, VecDeque};
use std::ops::{Bound, Range};
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{filter_record_batch, interleave_record_batch};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use super::Catalog;
use super::change::{ReferenceKey, SegmentKey, object_key};
use super::cold::{self, ColdFile, ColdTable, FileIndex, ObjectEntry, Page, Reference};
use super::pages::{PageCache, ReadError};
use super::state::{HotObject, SegmentScan, State};
use super::view::View;
use crate::domain::{FlowId, ObjectId, ObjectPlace, TimeRange};

/// Rows of a batch, about.
const BATCH_ROWS: usize = 8_192;
/// Pages of a file that are read at once, where those of several files are merged...
const PAGES_AT_ONCE: u32 = 16;
/// ...and up to how many, in all, are taken from those that are kept for short questions, and kept for them.
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
        let scan = Scan { cache, state, schema, request, ranges: Vec::new(), hinted: None };
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

struct Scan {
    cache: PageCache,
    state: Arc<State>,
    schema: SchemaRef,
    request: TableScan,
    /// Of keys of segments, in order; they do not overlap.
    ranges: Vec<(SegmentKey, SegmentKey)>,
    /// Where rows are that the hint names.
    hinted: Option<Vec<(SegmentKey, SegmentKey)>>,
}

const FIRST: SegmentKey = SegmentKey { flow_id: FlowId::MIN, start: i128::MIN };
const END: SegmentKey = SegmentKey { flow_id: FlowId::MAX, start: i128::MAX };

impl Scan {
    async fn rows(mut self, part: usize, parts: usize) -> Result<Batches, ReadError> {
        if let Some(ids) = &self.request.objects {
            let batch = if part == 0 { self.objects(ids).await? } else { None };
            return Ok(stream::iter(batch.map(Ok)).boxed());
        }
        self.ranges = match &self.request.flows {
            Some(flows) => self.key_ranges(flows).await?,
            None => vec![(FIRST, END)],
        };
        self.hinted = match &self.request.hint {
            Some(flows) if self.request.flows.is_none() => Some(self.key_ranges(flows).await?),
            _ => None,
        };
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

    /// Where rows of these Flows are, in order.
    async fn key_ranges(&self, flows: &BTreeSet<FlowId>) -> Result<Vec<(SegmentKey, SegmentKey)>, ReadError> {
        let mut ranges = Vec::new();
        if self.request.table != ColdTable::FlowSegments {
            // Init Objects are all at one place, whoever brought them.
            let ObjectPlace { flow_id, start } = ObjectPlace::OF_INIT_OBJECTS;
            ranges.push((SegmentKey { flow_id, start }, SegmentKey { flow_id, start: start.saturating_add(1) }));
        }
        for flow_id in flows.iter().copied() {
            let key = |start| SegmentKey { flow_id, start };
            if self.request.table != ColdTable::FlowSegments || self.request.flows.is_none() {
                ranges.push((key(i128::MIN), key(i128::MAX)));
                continue;
            }
            let timerange = self.request.timerange;
            let scan = SegmentScan { flow_id, timerange, reverse_order: false, after: None };
            let keys = self.cache.answer(|pages| View::new(&self.state, pages).start_keys(&scan)).await?;
            ranges.extend(keys.map(|(from, to)| (key(from), key(to))));
        }
        Ok(ranges)
    }

    /// Pages of a file that may have wanted rows.
    fn pages(&self, index: &FileIndex) -> Vec<Range<u32>> {
        let of_flows = |ranges: &[(SegmentKey, SegmentKey)]| {
            let pages = ranges.iter().map(|(from, to)| index.pages_in(&from.to_bytes(), &to.to_bytes()));
            joined(pages.filter(|pages| !pages.is_empty()))
        };
        if self.request.flows.is_some() {
            return of_flows(&self.ranges);
        }
        let all = std::iter::once(0..index.pages()).collect();
        let is_timed = self.request.table == ColdTable::FlowSegments && self.request.timerange != TimeRange::ETERNITY;
        let in_time = if is_timed { self.pages_in_time(index) } else { all };
        match &self.hinted {
            Some(hinted) => {
                let of_flows = of_flows(hinted);
                let common = of_flows.iter().flat_map(|one| in_time.iter().filter_map(|other| common(one, other)));
                common.collect()
            }
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

    /// Keys under which cold files may have rows of hot Objects, in order.
    fn hot_object_keys(&self) -> Vec<Vec<u8>> {
        let places = |hot: &HotObject| {
            let gone_from: Vec<_> = hot.gone_from.iter().map(|(place, _)| *place).collect();
            std::iter::once(hot.place).chain(gone_from)
        };
        let hot = self.state.objects.iter();
        let mut keys: Vec<_> =
            hot.flat_map(|(id, hot)| places(hot).map(move |place| object_key(place, id.as_str()))).collect();
        keys.sort_unstable();
        keys
    }

    /// The wanted columns; null where a file is older than the column.
    fn project(&self, batch: &RecordBatch) -> Result<RecordBatch, ReadError> {
        cold::project(batch, &self.schema).map_err(|error| self.unfit(error))
    }

    fn unfit(&self, error: impl std::fmt::Display) -> ReadError {
        ReadError::Rows { table: self.request.table.name(), reason: error.to_string() }
    }
}

/// Ranges of pages in order, those that touch as one.
fn joined(ranges: impl Iterator<Item = Range<u32>>) -> Vec<Range<u32>> {
    let mut joined: Vec<Range<u32>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

/// What a scan falls into: pieces that are read one by one, or by several at the same time.
struct Pieces {
    pieces: Vec<Piece>,
    /// Of files, in all of them.
    pages: u32,
}

enum Piece {
    Hot,
    /// Rows that no other place has to say anything of.
    Alone(Part),
    /// Of rows with the same key the newest counts; or all are wanted in order.
    Merged {
        parts: Vec<Part>,
        hot: bool,
    },
}

/// Pages of a file.
#[derive(Clone)]
struct Part {
    file: Arc<ColdFile>,
    index: Arc<FileIndex>,
    pages: Vec<Range<u32>>,
}

impl Part {
    fn with(&self, pages: Vec<Range<u32>>) -> Self {
        Self { pages, ..self.clone() }
    }
}

impl Pieces {
    async fn of(scan: &Scan) -> Result<Self, ReadError> {
        let mut parts = Vec::new();
        for file in scan.state.files_of(scan.request.table) {
            if scan.request.table == ColdTable::FlowSegments
                && !scan.ranges.iter().any(|(from, to)| file.may_hold_between(&from.to_bytes(), &to.to_bytes()))
            {
                continue;
            }
            let index = scan.cache.index_of(file).await?;
            let pages = scan.pages(&index);
            parts.push(Part { file: file.clone(), index, pages });
        }
        let pages = parts.iter().flat_map(|part| &part.pages).map(|pages| pages.end - pages.start).sum();
        if scan.request.order.is_some() {
            return Ok(Self { pieces: vec![Piece::Merged { parts, hot: true }], pages });
        }
        let mut pieces = vec![Piece::Hot];
        if scan.request.table == ColdTable::Objects {
            pieces.extend(pieces_of_objects(scan, &parts));
        } else {
            pieces.extend(parts.iter().flat_map(pieces_of_pages));
        }
        Ok(Self { pieces, pages })
    }
}

/// Where pieces begin does not depend on which of their pages are wanted, so that parts of a scan that do not know the same do
/// not take each other's.
fn pieces_of_pages(part: &Part) -> impl Iterator<Item = Piece> {
    (0..part.index.pages()).step_by(PIECE_PAGES as usize).map(|from| {
        let within = from..from.saturating_add(PIECE_PAGES);
        Piece::Alone(part.with(part.pages.iter().filter_map(|pages| common(pages, &within)).collect()))
    })
}

fn common(one: &Range<u32>, other: &Range<u32>) -> Option<Range<u32>> {
    let both = one.start.max(other.start)..one.end.min(other.end);
    (!both.is_empty()).then_some(both)
}

/// Pages that share no key with those of another file, or with a hot Object, are read as they are; what is left is merged.
fn pieces_of_objects(scan: &Scan, parts: &[Part]) -> Vec<Piece> {
    let hot = scan.hot_object_keys();
    let mut pages: Vec<ObjectPage<'_>> = Vec::new();
    for (number, Part { file, index, .. }) in parts.iter().enumerate() {
        for page in 0..index.pages() {
            let first = index.first_key(page);
            // Two pages may share a key at their border.
            let last = if page + 1 < index.pages() { index.first_key(page + 1) } else { &file.meta.last_key };
            let next_hot = hot.partition_point(|key| key.as_slice() < first);
            let has_hot = hot.get(next_hot).is_some_and(|key| key.as_slice() <= last);
            pages.push(ObjectPage { number, page, first, last, has_hot });
        }
    }
    pages.sort_by_key(|page| (page.first, page.number, page.page));
    let (mut pieces, mut alone): (Vec<Piece>, Vec<Vec<u32>>) = (Vec::new(), vec![Vec::new(); parts.len()]);
    let mut merged: Vec<Vec<u32>> = alone.clone();
    let take = |pages: &mut Vec<Vec<u32>>| -> Vec<Part> {
        let own = parts.iter().zip(pages.iter_mut()).filter(|(_, pages)| !pages.is_empty());
        let own = own.map(|(part, pages)| {
            let all = joined(std::mem::take(pages).into_iter().map(|page| page..page + 1));
            let wanted = all.iter().flat_map(|all| part.pages.iter().filter_map(|pages| common(pages, all)));
            part.with(wanted.collect())
        });
        own.collect()
    };
    let mut rest = pages.as_slice();
    while let Some(first) = rest.first() {
        // All that hangs together by keys that pages of several files may have, and how far each file's pages of it reach.
        let mut reach: Vec<Option<&[u8]>> = vec![None; parts.len()];
        reach.get_mut(first.number).map(|reach| reach.insert(first.last));
        let mut end = 1;
        while let Some(next) = rest.get(end) {
            // Pages of one file have no key in common but, perhaps, that at their border, which others may have, too.
            let shares = |page: &ObjectPage<'_>| {
                let others = reach.iter().enumerate().filter(|(number, _)| *number != page.number);
                others.filter_map(|(_, reach)| *reach).any(|reach| reach >= page.first)
            };
            let ahead = rest.get(end..).unwrap_or_default().iter().take_while(|page| page.first == next.first);
            if !ahead.clone().any(shares) {
                break;
            }
            if let Some(reach) = reach.get_mut(next.number) {
                *reach = Some(reach.map_or(next.last, |reach| reach.max(next.last)));
            }
            end += 1;
        }
        let is_alone = end == 1 && !first.has_hot;
        let (own, others) = rest.split_at(end);
        rest = others;
        let pages = if is_alone { &mut alone } else { &mut merged };
        for ObjectPage { number, page, .. } in own {
            if let Some(pages) = pages.get_mut(*number) {
                pages.push(*page);
            }
        }
        if pages.iter().map(Vec::len).sum::<usize>() >= PIECE_PAGES as usize {
            let parts = take(pages);
            if is_alone {
                pieces.extend(parts.into_iter().map(Piece::Alone));
            } else {
                pieces.push(Piece::Merged { parts, hot: false });
            }
        }
    }
    pieces.extend(take(&mut alone).into_iter().map(Piece::Alone));
    pieces.push(Piece::Merged { parts: take(&mut merged), hot: false });
    pieces
}

struct ObjectPage<'a> {
    /// Of its file.
    number: usize,
    page: u32,
    first: &'a [u8],
    last: &'a [u8],
    /// Whether a hot Object may have a row in it.
    has_hot: bool,
}

impl Piece {
    fn batches(self, scan: &Arc<Scan>, short: bool) -> Batches {
        let input = |part: Part, looked_at| Input::Cold(ColdRows::new(scan.clone(), part, looked_at, short));
        match self {
            Self::Hot => Input::Hot(HotRows::new(scan.clone())).batches(),
            Self::Alone(part) => {
                let looked_at = scan.is_looked_at(&part.file);
                input(part, looked_at).batches()
            }
            Self::Merged { parts, hot } => {
                let hot = hot.then(|| Input::Hot(HotRows::new(scan.clone())));
                let cold = parts.into_iter().map(|part| input(part, true));
                Merge::new(scan.clone(), hot.into_iter().chain(cold).collect()).batches()
            }
        }
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
                    Chunk::Keyed(page) => input.scan().without_gone(page.batch().clone())?,
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
    index: Arc<FileIndex>,
    /// Which are still to be read.
    pages: VecDeque<Range<u32>>,
    /// Rows that are read and not handed on yet.
    ready: VecDeque<RecordBatch>,
    /// Whether its rows are looked at one by one.
    looked_at: bool,
    short: bool,
}

impl ColdRows {
    fn new(scan: Arc<Scan>, part: Part, looked_at: bool, short: bool) -> Self {
        let Part { file, index, pages: wanted } = part;
        let mut pages = VecDeque::new();
        let at_once = match (short, looked_at) {
            (true, _) => 1,
            (false, true) => PAGES_AT_ONCE,
            (false, false) => PIECE_PAGES,
        };
        for mut range in wanted {
            while !range.is_empty() {
                let of_group = index.pages_of(index.row_group_of(range.start));
                let end = range.end.min(of_group.end).min(range.start + at_once);
                pages.push_back(range.start..end);
                range.start = end;
            }
        }
        Self { scan, file, index, pages, ready: VecDeque::new(), looked_at, short }
    }

    async fn next(&mut self) -> Result<Option<Chunk>, ReadError> {
        loop {
            let next = |of: &mut VecDeque<_>| if self.scan.backward() { of.pop_back() } else { of.pop_front() };
            let chunk = if let Some(batch) = self.ready.pop_front() {
                Chunk::Rows(batch)
            } else if let Some(pages) = next(&mut self.pages) {
                match self.read(pages).await? {
                    Some(chunk) => chunk,
                    None => continue,
                }
            } else {
                return Ok(None);
            };
            if chunk.len() > 0 {
                return Ok(Some(chunk));
            }
        }
    }

    /// Reads pages: to be handed on now, or into what is ready.
    async fn read(&mut self, pages: Range<u32>) -> Result<Option<Chunk>, ReadError> {
        let scan = &self.scan;
        if self.short {
            let page = scan.cache.answer(|cached| {
                cached.index(&self.file)?;
                cached.page(&self.file, pages.start)
            });
            return self.look_at(page.await?).map(Some);
        }
        if let Some(lenders) = scan.request.lenders.as_ref().filter(|_| pages.len() > 1) {
            let wanted = self.pages_with(&pages, "object_flow", lenders).await?;
            if wanted.is_empty() {
                return Ok(None);
            }
            if wanted.first() != Some(&pages) {
                wanted.into_iter().rev().for_each(|pages| self.pages.push_front(pages));
                return Ok(None);
            }
        }
        let scan = &self.scan;
        let columns = self.index.column_numbers(|name| scan.is_needed(self.looked_at, name));
        if self.looked_at {
            let batch = scan.cache.read_through(&self.file, &self.index, pages, Some(&columns)).await?;
            return self.look_at(self.page(batch)?).map(Some);
        }
        let batches = scan.cache.read_batches(&self.file, &self.index, pages, Some(&columns), BATCH_ROWS).await?;
        for batch in batches {
            let is_of_objects = scan.request.table == ColdTable::Objects;
            self.ready.push_back(if is_of_objects { scan.without_gone(batch)? } else { batch });
        }
        Ok(None)
    }

    /// Those of the pages in which a column has one of these texts: reading one column is cheap beside reading all.
    async fn pages_with(
        &self,
        pages: &Range<u32>,
        column: &str,
        texts: &BTreeSet<String>,
    ) -> Result<Vec<Range<u32>>, ReadError> {
        let number = self.index.column_numbers(|name| name == column);
        if number.is_empty() {
            // The file is older than the column: no row has a value.
            return Ok(Vec::new());
        }
        let batch = self.scan.cache.read_through(&self.file, &self.index, pages.clone(), Some(&number)).await?;
        let rows = batch.columns().first().and_then(|column| column.as_string_opt::<i32>());
        let rows = rows.ok_or_else(|| self.scan.unfit(format_args!("{column} is no text")))?;
        let first = self.index.first_row(pages.start);
        let row = |page| usize::try_from(self.index.first_row(page) - first).unwrap_or(usize::MAX).min(rows.len());
        let mut last: Option<(&str, bool)> = None;
        let has = |page: &u32| {
            (row(*page)..row(*page + 1)).filter(|row| rows.is_valid(*row)).map(|row| rows.value(row)).any(|value| {
                // The same text comes again and again.
                let wanted = match last {
                    Some((same, wanted)) if same == value => wanted,
                    _ => texts.contains(value),
                };
                last = Some((value, wanted));
                wanted
            })
        };
        Ok(joined(pages.clone().filter(has).map(|page| page..page + 1)))
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
