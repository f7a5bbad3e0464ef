//! What is deleted already for those who read, although its rows are still there: segments that a Flow Delete Request is
//! working off. The one place that knows which segments those are.

use std::sync::Arc;

use super::change::{Lsn, SegmentKey};
use super::state::{SegmentScan, State, Stored};
use crate::domain::{DeleteRequest, DeleteRequestId, FlowId, FlowSegment, ObjectId, TimeRange, UtcTime};

/// A segment's place on its timeline, from the start key on and up to the end key.
type Keys = (i128, i128);

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

    /// Stored segments that the request has still to delete, in timeline order.
    pub fn still_to_delete<'a>(&'a self, request: &'a DeleteRequest) -> impl Iterator<Item = &'a Arc<FlowSegment>> {
        let scan = SegmentScan {
            flow_id: request.flow_id,
            timerange: request.timerange_remaining,
            reverse_order: false,
            after: None,
        };
        self.scan_stored(&scan).filter(|segment| request.covers(segment))
    }

    /// The last of [`State::still_to_delete`].
    pub fn last_to_delete(&self, request: &DeleteRequest) -> Option<&Arc<FlowSegment>> {
        let (flow_id, timerange) = (request.flow_id, request.timerange_remaining);
        self.scan_stored(&SegmentScan { flow_id, timerange, reverse_order: true, after: None })
            .find(|segment| request.covers(segment))
    }

    /// The request because of which no segment of this Object can be registered there now: it would be deleted with
    /// the others, or stands on one that is not gone yet.
    pub fn deletion_in_the_way(
        &self,
        flow_id: FlowId,
        timerange: TimeRange,
        object_id: &ObjectId,
    ) -> Option<&Arc<DeleteRequest>> {
        let scan = SegmentScan { flow_id, timerange, reverse_order: false, after: None };
        self.unfinished(flow_id).iter().filter(|request| request.timerange_remaining.overlaps(&timerange)).find(
            |request| request.is_about(object_id) || self.scan_stored(&scan).any(|segment| request.covers(segment)),
        )
    }

    fn unfinished(&self, id: FlowId) -> &[Arc<DeleteRequest>] {
        self.unfinished_deletions.get(&id).map_or(&[], Vec::as_slice)
    }

    /// Segments in timeline order, without those that are being deleted. A Flow's segments never overlap, so their
    /// order by start is also that by end.
    pub fn scan_segments(&self, scan: &SegmentScan) -> Box<dyn Iterator<Item = &Arc<FlowSegment>> + '_> {
        let requests = self.unfinished(scan.flow_id);
        if requests.is_empty() {
            return self.scan_stored(scan);
        }
        let Some(keys) = self.start_keys(scan) else { return Box::new(std::iter::empty()) };
        // Whole stretches are stepped over, however many segments are in them: nothing else can start there.
        let mut pieces = vec![keys];
        for hidden in requests.iter().filter(|request| request.object_id.is_none()) {
            let hidden = (hidden.timerange_remaining.start_key(), hidden.timerange_remaining.end_key());
            pieces = pieces.into_iter().flat_map(|piece| outside(piece, hidden)).collect();
        }
        if scan.reverse_order {
            pieces.reverse();
        }
        let (flow_id, reverse_order) = (scan.flow_id, scan.reverse_order);
        let segments = pieces.into_iter().flat_map(move |keys| self.stored_between(flow_id, keys, reverse_order));
        Box::new(segments.filter(|segment| !requests.iter().any(|request| request.covers(segment))))
    }

    /// As [`State::scan_segments`], with those that are being deleted.
    pub fn scan_stored(&self, scan: &SegmentScan) -> Box<dyn Iterator<Item = &Arc<FlowSegment>> + '_> {
        match self.start_keys(scan) {
            Some(keys) => self.stored_between(scan.flow_id, keys, scan.reverse_order),
            None => Box::new(std::iter::empty()),
        }
    }

    /// Where the scan's segments start; `None` where there can be none.
    fn start_keys(&self, scan: &SegmentScan) -> Option<Keys> {
        let SegmentScan { flow_id, timerange, reverse_order, after } = *scan;
        if timerange.is_never() {
            return None;
        }
        let key = |start| SegmentKey { flow_id, start };
        // The one segment that begins before the range can still reach into it.
        let first = self
            .segments
            .range(key(i128::MIN)..=key(timerange.start_key()))
            .next_back()
            .filter(|(_, stored)| stored.row.timerange.overlaps(&timerange))
            .map_or(timerange.start_key(), |(key, _)| key.start);
        let last = timerange.end_key();
        let (first, last) = match after {
            Some(after) if reverse_order => (first, after.min(last)),
            Some(after) => (first.max(after.saturating_add(1)), last),
            None => (first, last),
        };
        (first < last).then_some((first, last))
    }

    fn stored_between(
        &self,
        flow_id: FlowId,
        (first, last): Keys,
        reverse_order: bool,
    ) -> Box<dyn Iterator<Item = &Arc<FlowSegment>> + '_> {
        let key = |start| SegmentKey { flow_id, start };
        let found = self.segments.range(key(first)..key(last)).map(|(_, stored)| &stored.row);
        if reverse_order { Box::new(found.rev()) } else { Box::new(found) }
    }

    pub(super) fn put_delete_request(&mut self, request: &Arc<DeleteRequest>, lsn: Lsn) {
        self.delete_requests.insert(request.id, Stored { lsn, row: request.clone() });
        self.forget_deletion(request);
        if !request.is_done() {
            self.unfinished_deletions.entry(request.flow_id).or_default().push(request.clone());
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
