//! What can be asked of the catalogue: a state, and the pages of its cold files that are loaded.
//!
//! A question is a pure function of the two and never waits. One that needs a page which is not loaded fails with
//! [`ReadError::NotLoaded`] and leaves a note of it; whoever asked loads what was noted and asks again (ADR 0008). Hot rows
//! and cold ones are merged here and nowhere else.

use std::collections::BTreeSet;
use std::ops::{Deref, Range};
use std::sync::Arc;

use super::change::{Change, Lsn, ReferenceKey, SegmentKey, object_hash, object_key};
use super::cold::{ColdFile, ColdTable, Page, Reference};
use super::pages::Pages;
pub use super::pages::ReadError;
use super::state::{SegmentScan, State, Stored};
use crate::domain::{FlowId, FlowSegment, MediaObject, ObjectId, ObjectPlace, TimeRange, UtcTime};

#[derive(Clone, Copy)]
pub struct View<'a> {
    state: &'a State,
    pages: &'a Pages,
}

impl Deref for View<'_> {
    type Target = State;
    fn deref(&self) -> &State {
        self.state
    }
}

/// A cold row of an Object; without the Object if it says that it is gone.
type ColdRow = (Lsn, Option<Arc<MediaObject>>);
type Segments<'a> = Box<dyn Iterator<Item = Result<Arc<FlowSegment>, ReadError>> + 'a>;

impl<'a> View<'a> {
    pub(super) fn new(state: &'a State, pages: &'a Pages) -> Self {
        Self { state, pages }
    }

    /// As `*self`, for as long as what was asked of.
    pub fn state(&self) -> &'a State {
        self.state
    }

    /// An Object in whatever stage of its life: handed out, registered or condemned.
    pub fn object(&self, id: &ObjectId) -> Result<Option<Arc<MediaObject>>, ReadError> {
        Ok(self.stored_object(id)?.map(|stored| stored.row))
    }

    /// As [`View::object`], with the LSN of its row.
    pub(super) fn stored_object(&self, id: &ObjectId) -> Result<Option<Stored<MediaObject>>, ReadError> {
        if let Some(hot) = self.state.objects.get(id) {
            return Ok(hot.row.clone().map(|row| Stored { lsn: hot.lsn, row }));
        }
        let hash = object_hash(id);
        let mut newest: Option<ColdRow> = None;
        let mut missing = None;
        for file in self.state.files_of(ColdTable::Objects) {
            // Most ids that a file does not have end here, and cost no page.
            let found = match self.pages.index(file) {
                Ok(index) if !index.might_hold_object(id) => continue,
                Ok(_) => self.pages.objects(file, hash),
                Err(error) => Err(error),
            };
            match found {
                Ok(found) => {
                    for one in found.iter().filter(|one| one.id == *id) {
                        if newest.as_ref().is_none_or(|(newest, _)| one.lsn > *newest) {
                            newest = Some((one.lsn, one.row.clone()));
                        }
                    }
                }
                // The other files may have something to load as well.
                Err(error) => missing = Some(error),
            }
        }
        missing.map_or(Ok(newest.and_then(|(lsn, row)| Some(Stored { lsn, row: row? }))), Err)
    }

    /// An init Object; all of them are at one place.
    pub fn init_object(&self, id: &ObjectId) -> Result<Option<Arc<MediaObject>>, ReadError> {
        if !self.state.objects.contains_key(id)
            && let Some((_, object)) = self.cold_object(ObjectPlace::OF_INIT_OBJECTS, id)?
        {
            return Ok(object);
        }
        self.object(id)
    }

    /// A segment's Object, which is near the segment's neighbours' Objects.
    pub fn object_of(&self, segment: &FlowSegment) -> Result<Option<Arc<MediaObject>>, ReadError> {
        let id = &segment.object_id;
        if let Some(hot) = self.state.objects.get(id) {
            return Ok(hot.row.clone());
        }
        if let Some(place) = segment.object_place.or_else(|| segment.likely_place())
            && let Some((_, object)) = self.cold_object(place, id)?
        {
            return Ok(object);
        }
        self.object(id)
    }

    /// The newest row of an Object in cold files, if it is at that place; without an Object if that says it is gone.
    fn cold_object(&self, place: ObjectPlace, id: &ObjectId) -> Result<Option<ColdRow>, ReadError> {
        let key = object_key(place, id.as_str());
        let mut newest: Option<ColdRow> = None;
        let mut missing = None;
        let after = [&key[..], &[0]].concat();
        for file in self.state.files_of(ColdTable::Objects).filter(|file| file.may_hold_between(&key, &after)) {
            match self.object_in(file, id, &key, &after) {
                Ok(Some((lsn, row))) if newest.as_ref().is_none_or(|(newest, _)| lsn > *newest) => {
                    newest = Some((lsn, row));
                }
                Ok(_) => {}
                // The other files may have something to load as well.
                Err(error) => missing = Some(error),
            }
        }
        missing.map_or(Ok(newest), Err)
    }

    fn object_in(
        &self,
        file: &Arc<ColdFile>,
        id: &ObjectId,
        key: &[u8],
        after: &[u8],
    ) -> Result<Option<ColdRow>, ReadError> {
        let index = self.pages.index(file)?;
        for number in index.pages_in(key, after).filter(|number| index.page_might_hold_object(*number, id)) {
            let page = self.pages.page(file, number)?;
            let row = page.lower_bound(key);
            if row < page.len() && page.compare_key(row, key).is_eq() {
                let object = if page.is_deleted(row) { None } else { Some(Arc::new(page.object(row)?)) };
                return Ok(Some((page.lsn(row), object)));
            }
        }
        Ok(None)
    }

    /// Flows whose segments use the Object (an init object's: through its media objects), by id, each once. Flows that
    /// are gone, although not all of their segments are, do not count.
    pub fn flows_referring_to(
        &self,
        id: &ObjectId,
        after: Option<FlowId>,
    ) -> impl Iterator<Item = Result<FlowId, ReadError>> + use<'a> {
        let (view, object_hash) = (*self, object_hash(id));
        let beyond = |flow_id| SegmentKey { flow_id, start: i128::MAX };
        let mut from = after.map_or(SegmentKey { flow_id: FlowId::MIN, start: i128::MIN }, beyond);
        let mut failed = false;
        let flows = std::iter::from_fn(move || {
            if failed {
                return None;
            }
            let found = view.next_use(object_hash, from).transpose()?;
            failed = found.is_err();
            Some(found.map(|used_at| {
                from = beyond(used_at.flow_id);
                used_at.flow_id
            }))
        });
        flows.filter(move |found| found.as_ref().map_or(true, |id| view.state.flow(*id).is_some()))
    }

    /// Whether any stored segment needs the Object, even one that is being deleted.
    pub fn is_referenced(&self, id: &ObjectId) -> Result<bool, ReadError> {
        let first = SegmentKey { flow_id: FlowId::MIN, start: i128::MIN };
        Ok(self.next_use(object_hash(id), first)?.is_some())
    }

    /// The first stored segment from there on that needs the Object.
    fn next_use(&self, object_hash: i64, from: SegmentKey) -> Result<Option<SegmentKey>, ReadError> {
        let (from, to) = (ReferenceKey { object_hash, segment: from }, ReferenceKey::end_of(object_hash));
        let mut next = self.state.references.range(from..to).next().map(|(key, _)| key.segment);
        self.for_references((from, to), |reference| {
            let used_at = reference.key.segment;
            let is_stored = !self.state.tombstones.hide(used_at, reference.lsn);
            if is_stored {
                next = next.into_iter().chain([used_at]).min();
            }
            is_stored
        })?;
        Ok(next)
    }

    /// Rows of cold files between two keys; of each file until `found` has enough of it.
    fn for_references(
        &self,
        (from, to): (ReferenceKey, ReferenceKey),
        mut found: impl FnMut(&Reference) -> bool,
    ) -> Result<(), ReadError> {
        let (from, to) = (from.to_bytes(), to.to_bytes());
        let mut missing = None;
        for file in self.state.files_of(ColdTable::References).filter(|file| file.may_hold_between(&from, &to)) {
            // The other files may have something to load as well.
            if let Err(error) = self.for_references_in(file, &from, &to, &mut found) {
                missing = Some(error);
            }
        }
        missing.map_or(Ok(()), Err)
    }

    fn for_references_in(
        &self,
        file: &Arc<ColdFile>,
        from: &[u8],
        end: &[u8],
        found: &mut impl FnMut(&Reference) -> bool,
    ) -> Result<(), ReadError> {
        for number in self.pages.index(file)?.pages_in(from, end) {
            let page = self.pages.page(file, number)?;
            for row in page.lower_bound(from)..page.lower_bound(end) {
                if found(&page.reference(row)?) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// From the first start to the last end of the Flow's segments that overlap `within`; never where there are none.
    pub fn segments_extent(&self, flow_id: FlowId, within: TimeRange) -> Result<TimeRange, ReadError> {
        let extent = self.state.stored_extent(flow_id);
        if within.contains(&extent) && self.state.unfinished(flow_id).is_empty() {
            return Ok(extent);
        }
        let scan = |reverse_order| SegmentScan { flow_id, timerange: within, reverse_order, after: None };
        let first = self.scan_segments(&scan(false)).next().transpose()?;
        let last = self.scan_segments(&scan(true)).next().transpose()?;
        Ok(match (first, last) {
            (Some(first), Some(last)) => first.timerange.hull(&last.timerange),
            _ => TimeRange::NEVER,
        })
    }

    /// The segment that overlaps, if any.
    pub fn overlapping_segment(
        &self,
        flow_id: FlowId,
        timerange: TimeRange,
    ) -> Result<Option<Arc<FlowSegment>>, ReadError> {
        let scan = SegmentScan { flow_id, timerange, reverse_order: false, after: None };
        self.scan_segments(&scan).next().transpose()
    }

    /// Whether the segment is in no cold file yet.
    pub(super) fn is_hot(&self, segment: &FlowSegment) -> bool {
        self.state.segments.contains_key(&SegmentKey::of(segment))
    }

    /// The scan's segments that use an Object.
    pub fn segments_using(&self, scan: &SegmentScan, id: &ObjectId) -> Segments<'a> {
        let requests = self.state.unfinished(scan.flow_id);
        Box::new(self.stored_using(scan, id).filter(move |segment| {
            segment.as_ref().map_or(true, |segment| !requests.iter().any(|request| request.covers(segment)))
        }))
    }

    /// As [`View::segments_using`], with those that are being deleted.
    pub(super) fn stored_using(&self, scan: &SegmentScan, id: &ObjectId) -> Segments<'a> {
        let keys = match self.start_keys(scan).and_then(|keys| match keys {
            Some(keys) => self.uses_between(scan.flow_id, keys, id),
            None => Ok(Vec::new()),
        }) {
            Ok(keys) => keys,
            Err(error) => return Box::new(std::iter::once(Err(error))),
        };
        let (view, id) = (*self, id.clone());
        let keys: Box<dyn Iterator<Item = SegmentKey>> =
            if scan.reverse_order { Box::new(keys.into_iter().rev()) } else { Box::new(keys.into_iter()) };
        let segments = keys.filter_map(move |key| view.segment(&key).transpose());
        // References know a hash of the id only, and init Objects as well.
        Box::new(segments.filter(move |segment| segment.as_ref().map_or(true, |segment| segment.object_id == id)))
    }

    /// Where stored segments of the Flow need the Object, in order.
    fn uses_between(
        &self,
        flow_id: FlowId,
        (first, last): (i128, i128),
        id: &ObjectId,
    ) -> Result<Vec<SegmentKey>, ReadError> {
        let object_hash = object_hash(id);
        let key = |start| ReferenceKey { object_hash, segment: SegmentKey { flow_id, start } };
        let keys = (key(first), key(last));
        let mut found: BTreeSet<SegmentKey> =
            self.state.references.range(keys.0..keys.1).map(|(key, _)| key.segment).collect();
        self.for_references(keys, |reference| {
            if !self.state.tombstones.hide(reference.key.segment, reference.lsn) {
                found.insert(reference.key.segment);
            }
            false
        })?;
        Ok(found.into_iter().collect())
    }

    pub fn segment(&self, key: &SegmentKey) -> Result<Option<Arc<FlowSegment>>, ReadError> {
        let keys = (key.start, key.start.saturating_add(1));
        self.stored_between(key.flow_id, keys, false).next().transpose()
    }

    /// The stored segment that is there at a place of the timeline.
    pub(super) fn stored_at(&self, flow_id: FlowId, key: i128) -> Result<Option<Arc<FlowSegment>>, ReadError> {
        let before = (i128::MIN, key.saturating_add(1));
        if !self.state.stored_extent(flow_id).holds_key(key) {
            return Ok(None);
        }
        let last = if self.state.cold_extent(flow_id).holds_key(key) {
            self.stored_between(flow_id, before, true).next().transpose()?
        } else {
            let hot = self.hot_between(flow_id, before, true).next();
            hot.cloned()
        };
        Ok(last.filter(|segment| segment.timerange.holds_key(key)))
    }

    fn hot_between(
        &self,
        flow_id: FlowId,
        (first, last): (i128, i128),
        reverse_order: bool,
    ) -> Box<dyn Iterator<Item = &'a Arc<FlowSegment>> + 'a> {
        let key = |start| SegmentKey { flow_id, start };
        let found = self.state.segments.range(key(first)..key(last)).map(|(_, stored)| &stored.row);
        if reverse_order { Box::new(found.rev()) } else { Box::new(found) }
    }

    /// Stored segments that start at the first key or later and before the last, in order.
    pub(super) fn stored_between(&self, flow_id: FlowId, keys: (i128, i128), reverse_order: bool) -> Segments<'a> {
        self.merged(flow_id, keys, reverse_order, self.hot_between(flow_id, keys, reverse_order))
    }

    /// Of those, the ones that cold files have.
    pub(super) fn cold_between(&self, flow_id: FlowId, keys: (i128, i128), reverse_order: bool) -> Segments<'a> {
        self.merged(flow_id, keys, reverse_order, Box::new(std::iter::empty()))
    }

    fn merged(
        &self,
        flow_id: FlowId,
        keys: (i128, i128),
        reverse_order: bool,
        hot: Box<dyn Iterator<Item = &'a Arc<FlowSegment>> + 'a>,
    ) -> Segments<'a> {
        let mut sources: Vec<Source<'a>> = Vec::new();
        let cold = self.state.cold_extent(flow_id);
        if cold.start_key() >= keys.1 || cold.end_key() <= keys.0 {
            return Box::new(hot.cloned().map(Ok));
        }
        // What was deleted at the ends need not be stepped over.
        let from = SegmentKey { flow_id, start: keys.0.max(cold.start_key()) };
        let to = SegmentKey { flow_id, start: keys.1.min(cold.end_key()) };
        let mut missing = None;
        for file in self.state.files_of(ColdTable::FlowSegments) {
            if !file.may_hold_between(&from.to_bytes(), &to.to_bytes()) {
                continue;
            }
            let mut cursor = ColdCursor { view: *self, file, from, to, reverse_order, numbers: None, at: None };
            match cursor.next() {
                Ok(None) => {}
                Ok(head) => sources.push(Source { head, rest: Rest::Cold(cursor) }),
                // The other files may have something to load as well.
                Err(error) => missing = Some(error),
            }
        }
        if let Some(error) = missing {
            return Box::new(std::iter::once(Err(error)));
        }
        if sources.is_empty() {
            return Box::new(hot.cloned().map(Ok));
        }
        let mut hot = Source { head: None, rest: Rest::Hot(hot) };
        // A hot source does not fail.
        let _ = hot.advance();
        sources.push(hot);
        Box::new(Merge { sources, reverse_order, failed: false })
    }
}

#[cfg(test)]
impl<'a> View<'a> {
    /// Of a state without cold files.
    pub fn of_hot(state: &'a State) -> Self {
        static NOTHING: std::sync::LazyLock<Pages> = std::sync::LazyLock::new(|| {
            let store = super::ObjectStoreStore::new(
                Arc::new(object_store::memory::InMemory::new()),
                "memory:///".parse().unwrap(),
            );
            Pages::new(super::pages::PageCache::new(Arc::new(store), 0, 0))
        });
        assert!(state.files.is_empty(), "it has cold files");
        Self::new(state, &NOTHING)
    }
}

/// All answers, or the first failure after all were asked for: so what is missing is noted, and loaded, at once.
pub fn read_all<T>(answers: impl Iterator<Item = Result<T, ReadError>>) -> Result<Vec<T>, ReadError> {
    let (mut all, mut failure) = (Vec::new(), None);
    for answer in answers {
        match answer {
            Ok(answer) => all.push(answer),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    failure.map_or(Ok(all), Err)
}

/// Segments of several sources, each in order, as one. No two of them overlap, so their starts order them.
struct Merge<'a> {
    sources: Vec<Source<'a>>,
    reverse_order: bool,
    failed: bool,
}

struct Source<'a> {
    head: Option<Arc<FlowSegment>>,
    rest: Rest<'a>,
}

enum Rest<'a> {
    Hot(Box<dyn Iterator<Item = &'a Arc<FlowSegment>> + 'a>),
    Cold(ColdCursor<'a>),
}

impl Source<'_> {
    fn advance(&mut self) -> Result<Option<Arc<FlowSegment>>, ReadError> {
        let next = match &mut self.rest {
            Rest::Hot(rest) => rest.next().cloned(),
            Rest::Cold(cursor) => cursor.next()?,
        };
        Ok(std::mem::replace(&mut self.head, next))
    }
}

impl Iterator for Merge<'_> {
    type Item = Result<Arc<FlowSegment>, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let start = |source: &Source<'_>| source.head.as_ref().map(|segment| segment.timerange.start_key());
        let with_heads = self.sources.iter_mut().filter(|source| source.head.is_some());
        let next = if self.reverse_order {
            with_heads.max_by_key(|source| start(source))
        } else {
            with_heads.min_by_key(|source| start(source))
        };
        let next = next?.advance();
        self.failed = next.is_err();
        next.transpose()
    }
}

/// Rows of one file that are not deleted, between two keys.
struct ColdCursor<'a> {
    view: View<'a>,
    file: &'a Arc<ColdFile>,
    from: SegmentKey,
    to: SegmentKey,
    reverse_order: bool,
    /// Of the file, those that may have such rows; `None` before they are known.
    numbers: Option<Range<u32>>,
    /// The page that it is in, and the row that comes next there (backwards: the one after that).
    at: Option<(u32, Arc<Page>, usize)>,
}

impl ColdCursor<'_> {
    fn next(&mut self) -> Result<Option<Arc<FlowSegment>>, ReadError> {
        while let Some((page, row)) = self.step()? {
            let key = page.segment_key(row)?;
            if if self.reverse_order { key < self.from } else { key >= self.to } {
                self.numbers = Some(0..0);
                self.at = None;
            } else if let Some(hidden) = self.view.state.tombstones.hiding(key, page.lsn(row)) {
                self.step_over(hidden);
            } else {
                return Ok(Some(Arc::new(page.segment(row)?)));
            }
        }
        Ok(None)
    }

    /// The next row, whatever it is.
    fn step(&mut self) -> Result<Option<(Arc<Page>, usize)>, ReadError> {
        let pages = self.view.pages;
        let numbers = match &self.numbers {
            Some(numbers) => numbers.clone(),
            None => {
                let (from, to) = (self.from.to_bytes(), self.to.to_bytes());
                self.numbers.insert(pages.index(self.file)?.pages_in(&from, &to)).clone()
            }
        };
        loop {
            let Some((number, page, row)) = self.at.take() else {
                if numbers.is_empty() {
                    return Ok(None);
                }
                let number = if self.reverse_order { numbers.end - 1 } else { numbers.start };
                let page = pages.page(self.file, number)?;
                let key = if self.reverse_order { self.to } else { self.from };
                let row = page.lower_bound(&key.to_bytes());
                self.at = Some((number, page, row));
                continue;
            };
            let (row, next) = if self.reverse_order {
                (row.checked_sub(1), number.checked_sub(1).filter(|before| *before >= numbers.start))
            } else {
                (Some(row).filter(|row| *row < page.len()), Some(number + 1).filter(|next| *next < numbers.end))
            };
            if let Some(row) = row {
                self.at = Some((number, page.clone(), if self.reverse_order { row } else { row + 1 }));
                return Ok(Some((page, row)));
            }
            let Some(next) = next else {
                self.numbers = Some(0..0);
                return Ok(None);
            };
            let page = pages.page(self.file, next)?;
            let row = if self.reverse_order { page.len() } else { 0 };
            self.at = Some((next, page, row));
        }
    }

    /// A deletion of a million segments is one step, where all rows of the file are older than it.
    fn step_over(&mut self, (from, to, lsn): (SegmentKey, i128, Lsn)) {
        if self.file.meta.max_lsn >= lsn {
            return;
        }
        if self.reverse_order {
            self.to = self.to.min(from);
        } else {
            self.from = self.from.max(SegmentKey { start: to, ..from });
        }
        self.at = None;
        self.numbers = if self.from < self.to { None } else { Some(0..0) };
    }
}

/// A decision in several steps, each of which sees the ones before it.
pub struct Draft<'a> {
    base: View<'a>,
    /// The base with the first `applied` changes.
    scratch: Option<State>,
    applied: usize,
    changes: Vec<Change>,
    now: UtcTime,
}

impl<'a> Draft<'a> {
    pub fn new(base: View<'a>, now: UtcTime) -> Self {
        Self { base, scratch: None, applied: 0, changes: Vec::new(), now }
    }

    /// What is there with everything pushed so far.
    pub fn view(&mut self) -> View<'_> {
        let pending = self.changes.get(self.applied..).unwrap_or_default();
        if !pending.is_empty() {
            let scratch = self.scratch.get_or_insert_with(|| self.base.state.clone());
            // Newer than every row that is stored.
            let seq = self.base.state.seq + 1;
            for (index, change) in (u32::try_from(self.applied).unwrap_or(u32::MAX)..).zip(pending) {
                // One that does not apply here will not apply when it is committed, and is refused there.
                if scratch.apply(change, Lsn { seq, index }, self.now).is_err() {
                    break;
                }
            }
            self.applied = self.changes.len();
        }
        View { state: self.scratch.as_ref().unwrap_or(self.base.state), pages: self.base.pages }
    }

    pub fn extend(&mut self, changes: Vec<Change>) {
        self.changes.extend(changes);
    }

    pub fn into_changes(self) -> Vec<Change> {
        self.changes
    }
}
