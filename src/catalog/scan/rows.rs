//! Visible rows of one place: of memory, or of pages of a file.

use std::collections::{BTreeSet, VecDeque};
use std::ops::{Bound, Range};
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use futures::stream::{self, StreamExt};

use super::pieces::{Part, joined};
use super::{BATCH_ROWS, Batches, Keys, PIECE_PAGES, Scan};
use crate::catalog::change::{ReferenceKey, SegmentKey};
use crate::catalog::cold::{self, ColdFile, ColdTable, FileIndex, ObjectEntry, Page, Reference};
use crate::catalog::pages::ReadError;
use crate::domain::ObjectId;

/// Pages of a file that are read at once, where their rows are looked at one by one.
const PAGES_AT_ONCE: u32 = 16;

/// In order.
pub enum Input {
    Hot(HotRows),
    Cold(ColdRows),
}

/// Some of them; with their keys where they were looked at.
pub enum Chunk {
    Keyed(Arc<Page>),
    Rows(RecordBatch),
}

impl Input {
    pub async fn next(&mut self) -> Result<Option<Chunk>, ReadError> {
        match self {
            Self::Hot(rows) => rows.next().map(|batch| batch.map(Chunk::Rows)),
            Self::Cold(rows) => rows.next().await,
        }
    }

    pub fn scan(&self) -> &Arc<Scan> {
        match self {
            Self::Hot(rows) => &rows.scan,
            Self::Cold(rows) => &rows.scan,
        }
    }

    pub fn batches(self) -> Batches {
        let batches = stream::try_unfold(self, |mut input| async move {
            while let Some(chunk) = input.next().await? {
                let batch = match chunk {
                    Chunk::Rows(batch) => batch,
                    Chunk::Keyed(page) => page.batch().clone(),
                };
                let batch = input.scan().without_gone(batch)?;
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
pub struct HotRows {
    scan: Arc<Scan>,
    /// Of segments: what is left of the ranges.
    ranges: VecDeque<Keys>,
    object: Bound<ObjectId>,
    reference: Bound<ReferenceKey>,
}

impl HotRows {
    pub fn new(scan: Arc<Scan>) -> Self {
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
pub struct ColdRows {
    scan: Arc<Scan>,
    file: Arc<ColdFile>,
    index: Arc<FileIndex>,
    /// Which may be read...
    pages: VecDeque<Range<u32>>,
    /// ...which are read next...
    chosen: VecDeque<Range<u32>>,
    /// ...and what is read and not handed on yet.
    ready: VecDeque<Chunk>,
    /// Whether its rows are looked at one by one.
    looked_at: bool,
    short: bool,
}

impl ColdRows {
    pub fn new(scan: Arc<Scan>, part: Part, looked_at: bool, short: bool) -> Self {
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
        let (chosen, ready) = (VecDeque::new(), VecDeque::new());
        Self { scan, file, index, pages, chosen, ready, looked_at, short }
    }

    async fn next(&mut self) -> Result<Option<Chunk>, ReadError> {
        loop {
            if let Some(chunk) = self.ready.pop_front() {
                if chunk.len() > 0 {
                    return Ok(Some(chunk));
                }
            } else if let Some(pages) = self.chosen.pop_front() {
                self.read(pages).await?;
            } else if let Some(pages) =
                if self.scan.backward() { self.pages.pop_back() } else { self.pages.pop_front() }
            {
                self.chosen = self.choose(pages).await?;
            } else {
                return Ok(None);
            }
        }
    }

    /// Those of the pages that may have rows of use.
    async fn choose(&self, pages: Range<u32>) -> Result<VecDeque<Range<u32>>, ReadError> {
        match &self.scan.request.lenders {
            Some(lenders) if !self.short => self.pages_with(&pages, "object_flow", lenders).await,
            _ => Ok([pages].into()),
        }
    }

    async fn read(&mut self, pages: Range<u32>) -> Result<(), ReadError> {
        let scan = &self.scan;
        let columns = self.index.column_numbers(|name| scan.is_needed(self.looked_at, name));
        let page = if self.short {
            let page = scan.cache.answer(|cached| {
                cached.index(&self.file)?;
                cached.page(&self.file, pages.start)
            });
            page.await?
        } else if self.looked_at {
            self.page(scan.cache.read_through(&self.file, &self.index, pages, Some(&columns)).await?)?
        } else {
            let batches = scan.cache.read_batches(&self.file, &self.index, pages, Some(&columns), BATCH_ROWS).await?;
            self.ready.extend(batches.into_iter().map(Chunk::Rows));
            return Ok(());
        };
        let chunk = self.look_at(page)?;
        self.ready.push_back(chunk);
        Ok(())
    }

    /// Those of the pages in which a column has one of these texts: reading one column is cheap beside reading all.
    async fn pages_with(
        &self,
        pages: &Range<u32>,
        column: &str,
        texts: &BTreeSet<String>,
    ) -> Result<VecDeque<Range<u32>>, ReadError> {
        let number = self.index.column_numbers(|name| name == column);
        if number.is_empty() {
            // The file is older than the column: no row has a value.
            return Ok(VecDeque::new());
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
        Ok(joined(pages.clone().filter(has).map(|page| page..page + 1)).into())
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
