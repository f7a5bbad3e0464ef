//! Flow Delete Requests, and what they hide: segments that are deleted already for those who read, although their rows are
//! still there. The one place that knows which segments those are.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::change::{Change, Lsn, SegmentKey};
use super::state::{SegmentScan, State, Stored};
use super::view::{Draft, ReadError, View};
use crate::domain::{DeleteRequest, DeleteRequestId, FlowId, FlowSegment, ObjectId, TimeRange, UtcTime};

/// Where segments start, from the first key on and up to the second.
pub(super) type Keys = (i128, i128);

impl State {
    pub fn delete_request(&self, id: DeleteRequestId) -> Option<&Arc<DeleteRequest>> {
        self.delete_requests.get(&id).map(|stored| &stored.row)
    }

    /// All Flow Delete Requests, by id.
    pub fn delete_requests(&self) -> impl Iterator<Item = &Arc<DeleteRequest>> {
        self.delete_requests.values().map(|stored| &stored.row)
    }

    /// The request that has waited longest among those with something to do.
    pub fn next_deletion(&self) -> Option<&Arc<DeleteRequest>> {
        let unfinished = self.unfinished_deletions.values().flatten();
        unfinished.min_by_key(|request| (request.created, request.id))
    }

    /// Finished requests that are past their expiry.
    pub fn expired_deletions(&self, now: UtcTime) -> impl Iterator<Item = &Arc<DeleteRequest>> {
        self.delete_requests().filter(move |request| request.expiry.is_some_and(|expiry| expiry <= now))
    }

    /// Whether the Flow is gone for good, but not all of its segments yet.
    pub fn is_being_deleted(&self, id: FlowId) -> bool {
        self.unfinished(id).iter().any(|request| request.delete_flow)
    }

    pub(super) fn unfinished(&self, id: FlowId) -> &[Arc<DeleteRequest>] {
        self.unfinished_deletions.get(&id).map_or(&[], Vec::as_slice)
    }

    pub(super) fn put_delete_request(&mut self, request: &Arc<DeleteRequest>, lsn: Lsn) {
        self.delete_requests.insert(request.id, Stored { lsn, row: request.clone() });
        self.forget_deletion(request);
        if !request.is_done() {
            let requests = self.unfinished_deletions.entry(request.flow_id).or_default();
            requests.push(request.clone());
            // However they came here: one by one, or from a checkpoint.
            requests.sort_unstable_by_key(|request| request.id);
        }
    }

    pub(super) fn drop_delete_request(&mut self, id: DeleteRequestId) -> Result<(), &'static str> {
        let old = self.delete_requests.remove(&id).ok_or("the delete request to drop is not there")?;
        self.forget_deletion(&old.row);
        Ok(())
    }

    fn forget_deletion(&mut self, request: &DeleteRequest) {
        if let Some(mut requests) = self.unfinished_deletions.remove(&request.flow_id) {
            requests.retain(|other| other.id != request.id);
            if !requests.is_empty() {
                self.unfinished_deletions.insert(request.flow_id, requests);
            }
        }
    }
}

impl<'a> View<'a> {
    /// Stored segments that the request has still to delete, in timeline order.
    pub fn still_to_delete(
        &self,
        request: &DeleteRequest,
    ) -> impl Iterator<Item = Result<Arc<FlowSegment>, ReadError>> + use<'a> {
        self.covered(request, false)
    }

    /// The last of [`View::still_to_delete`].
    pub fn last_to_delete(&self, request: &DeleteRequest) -> Result<Option<Arc<FlowSegment>>, ReadError> {
        self.covered(request, true).next().transpose()
    }

    fn covered(
        &self,
        request: &DeleteRequest,
        reverse_order: bool,
    ) -> impl Iterator<Item = Result<Arc<FlowSegment>, ReadError>> + use<'a> {
        let (flow_id, timerange) = (request.flow_id, request.timerange_remaining);
        let scan = SegmentScan { flow_id, timerange, reverse_order, after: None };
        let request = request.clone();
        let segments = match &request.object_id {
            Some(id) => self.stored_using(&scan, id),
            None => self.scan_stored(&scan),
        };
        segments.filter(move |segment| segment.as_ref().map_or(true, |segment| request.covers(segment)))
    }

    /// The request because of which no segment of this Object can be registered there now: it would be deleted with
    /// the others, or stands on one that is not gone yet.
    pub fn deletion_in_the_way(
        &self,
        flow_id: FlowId,
        timerange: TimeRange,
        object_id: &ObjectId,
    ) -> Result<Option<&'a Arc<DeleteRequest>>, ReadError> {
        let scan = SegmentScan { flow_id, timerange, reverse_order: false, after: None };
        for request in self.state().unfinished(flow_id) {
            if !request.timerange_remaining.overlaps(&timerange) {
                continue;
            }
            if request.is_about(object_id) {
                return Ok(Some(request));
            }
            for segment in self.scan_stored(&scan) {
                if request.covers(&*segment?) {
                    return Ok(Some(request));
                }
            }
        }
        Ok(None)
    }

    /// Deletes segments that follow each other among those of a request, with all that follows from it.
    pub fn delete(
        self,
        request: &DeleteRequest,
        segments: &[Arc<FlowSegment>],
        now: UtcTime,
    ) -> Result<Vec<Change>, ReadError> {
        let (Some(first), Some(last)) = (segments.first(), segments.last()) else { return Ok(Vec::new()) };
        let flow_id = request.flow_id;
        let mut draft = Draft::new(self, now);
        draft.extend(match request.object_id {
            Some(_) => segments.iter().map(|segment| Change::DeleteSegment(SegmentKey::of(segment))).collect(),
            // However many: one change.
            None => vec![Change::DeleteSegmentsWithin { flow_id, timerange: first.timerange.hull(&last.timerange) }],
        });
        let consequences = draft.view().after_deleting(flow_id, segments, self)?;
        draft.extend(consequences);
        Ok(draft.into_changes())
    }

    /// What follows from the deletion of these segments, which this view has seen and `before` has not: Objects that
    /// they needed, and what is left of the Flow's cold timeline.
    pub fn after_deleting(
        &self,
        flow_id: FlowId,
        segments: &[Arc<FlowSegment>],
        before: View<'_>,
    ) -> Result<Vec<Change>, ReadError> {
        let (Some(first), Some(last)) = (segments.first(), segments.last()) else { return Ok(Vec::new()) };
        let cold = segments.iter().filter(|segment| !before.is_hot(segment));
        let needed: BTreeSet<&ObjectId> =
            cold.flat_map(|segment| std::iter::once(&segment.object_id).chain(&segment.init_object)).collect();
        let mut changes: Vec<Change> = needed.into_iter().cloned().map(Change::SuspectObject).collect();
        let extent = self.cold_extent(flow_id);
        let deleted = first.timerange.hull(&last.timerange);
        let at_its_ends = deleted.start_key() <= extent.start_key() || deleted.end_key() >= extent.end_key();
        if !extent.is_never() && at_its_ends && deleted.overlaps(&extent) {
            let left = |reverse_order| {
                let segment = self.cold_between(flow_id, (i128::MIN, i128::MAX), reverse_order).next().transpose()?;
                Ok::<_, ReadError>(segment.map_or(TimeRange::NEVER, |segment| segment.timerange))
            };
            let timerange = left(false)?.hull(&left(true)?);
            changes.push(Change::PutColdExtent { flow_id, timerange });
        }
        Ok(changes)
    }

    /// What becomes of suspects of which it was found out, on the state of entry `seen`, whether anything refers to them:
    /// they are condemned or cleared.
    pub fn verdicts(&self, judged: &[(ObjectId, bool)], seen: u64) -> Vec<Change> {
        // What was registered meanwhile is in memory, unless it went to cold files: then they are asked again.
        if self.flushed() > seen {
            return Vec::new();
        }
        // One that lost another reference meanwhile is judged again.
        let still = judged.iter().filter(|(id, _)| self.is_suspect_until(id, seen));
        let verdicts = still.map(|(id, referenced)| {
            let is_free = *referenced || self.is_used_since(id, seen) || self.is_condemned(id);
            if is_free { Change::ClearObject(id.clone()) } else { Change::CondemnObject(id.clone()) }
        });
        verdicts.collect()
    }

    /// Segments in timeline order, without those that are being deleted. A Flow's segments never overlap, so their
    /// order by start is also that by end.
    pub fn scan_segments(
        &self,
        scan: &SegmentScan,
    ) -> Box<dyn Iterator<Item = Result<Arc<FlowSegment>, ReadError>> + 'a> {
        let requests = self.state().unfinished(scan.flow_id);
        if requests.is_empty() {
            return self.scan_stored(scan);
        }
        let keys = match self.start_keys(scan) {
            Ok(Some(keys)) => keys,
            Ok(None) => return Box::new(std::iter::empty()),
            Err(error) => return Box::new(std::iter::once(Err(error))),
        };
        // Whole stretches are stepped over, however many segments are in them: nothing else can start there.
        let mut pieces = vec![keys];
        for hidden in requests.iter().filter(|request| request.object_id.is_none()) {
            let hidden = (hidden.timerange_remaining.start_key(), hidden.timerange_remaining.end_key());
            pieces = pieces.into_iter().flat_map(|piece| outside(piece, hidden)).collect();
        }
        if scan.reverse_order {
            pieces.reverse();
        }
        let (view, flow_id, reverse_order) = (*self, scan.flow_id, scan.reverse_order);
        let segments = pieces.into_iter().flat_map(move |keys| view.stored_between(flow_id, keys, reverse_order));
        Box::new(segments.filter(move |segment| {
            segment.as_ref().map_or(true, |segment| !requests.iter().any(|request| request.covers(segment)))
        }))
    }

    /// As [`View::scan_segments`], with those that are being deleted.
    pub fn scan_stored(
        &self,
        scan: &SegmentScan,
    ) -> Box<dyn Iterator<Item = Result<Arc<FlowSegment>, ReadError>> + 'a> {
        match self.start_keys(scan) {
            Ok(Some(keys)) => Box::new(self.stored_between(scan.flow_id, keys, scan.reverse_order)),
            Ok(None) => Box::new(std::iter::empty()),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    }

    /// Where the scan's segments start; `None` where there can be none.
    pub(super) fn start_keys(&self, scan: &SegmentScan) -> Result<Option<Keys>, ReadError> {
        let SegmentScan { flow_id, timerange, reverse_order, after } = *scan;
        if timerange.is_never() {
            return Ok(None);
        }
        // The one segment that begins before the range can still reach into it.
        let first = match after.filter(|after| !reverse_order && *after >= timerange.start_key()) {
            Some(after) => after,
            None => self
                .stored_at(flow_id, timerange.start_key())?
                .map_or(timerange.start_key(), |segment| segment.timerange.start_key()),
        };
        let last = timerange.end_key();
        let (first, last) = match after {
            Some(after) if reverse_order => (first, after.min(last)),
            Some(after) => (first.max(after.saturating_add(1)), last),
            None => (first, last),
        };
        Ok((first < last).then_some((first, last)))
    }
}

/// What of a piece lies outside of `hidden`, in order.
fn outside((first, last): Keys, hidden: Keys) -> impl Iterator<Item = Keys> {
    let before = (first, last.min(hidden.0));
    let behind = (first.max(hidden.1), last);
    let whole = hidden.0 >= hidden.1;
    let pieces = if whole { [(first, last), (last, last)] } else { [before, behind] };
    pieces.into_iter().filter(|(first, last)| first < last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hidden_stretch_leaves_what_lies_beside_it() {
        for (piece, hidden, left) in [
            ((0, 10), (3, 5), vec![(0, 3), (5, 10)]),
            ((0, 10), (0, 5), vec![(5, 10)]),
            ((0, 10), (5, 10), vec![(0, 5)]),
            ((0, 10), (-5, 20), vec![]),
            ((0, 10), (20, 30), vec![(0, 10)]),
            ((0, 10), (-9, -1), vec![(0, 10)]),
            ((0, 10), (7, 2), vec![(0, 10)]),
        ] {
            assert_eq!(outside(piece, hidden).collect::<Vec<_>>(), left, "{piece:?} without {hidden:?}");
        }
    }
}
