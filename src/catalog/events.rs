//! Which events follow from the changes of one request: computed by the committer against the state before them, and put
//! into the same log entry, so that a crash loses none and invents none.
//! Spec: the webhook events of TAMS 8.2

use std::collections::BTreeSet;

use super::change::{Change, SegmentKey};
use super::state::{SegmentScan, State};
use super::view::{ReadError, View};
use crate::domain::{Event, EventKind, FlowId, SourceId, TimeRange, UtcTime};

/// Segments that one event of added segments names, at most.
const SEGMENTS_IN_EVENT: usize = 100;

/// The events of `changes`, which will stand in the entry from place `first` on; in the order in which they are told.
pub fn of_changes(view: View<'_>, changes: &[Change], first: u32, now: UtcTime) -> Result<Vec<Event>, ReadError> {
    let before = view.state();
    let mut events = Vec::new();
    let mut added: Vec<(FlowId, Vec<u32>)> = Vec::new();
    let mut removed: Vec<(FlowId, Vec<SegmentKey>)> = Vec::new();
    for (place, change) in (first..).zip(changes) {
        match change {
            Change::PutSource(source) => {
                let known = before.source(source.id).is_some();
                let kind = if known { EventKind::SourceUpdated } else { EventKind::SourceCreated };
                events.push(Event { changes: vec![place], ..of_source(before, kind, source.id) });
            }
            Change::DeleteSource(id) => events.push(of_source(before, EventKind::SourceDeleted, *id)),
            Change::PutFlow(flow) => {
                let known = before.flow(flow.id).is_some();
                let kind = if known { EventKind::FlowUpdated } else { EventKind::FlowCreated };
                let segments_updated = before.segments_updated(flow.id);
                let event = of_flow(before, kind, flow.id, flow.source_id);
                events.push(Event { segments_updated, changes: vec![place], ..event });
            }
            Change::DeleteFlow(id) => {
                if let Some(flow) = before.flow(*id) {
                    events.push(of_flow(before, EventKind::FlowDeleted, *id, flow.source_id));
                }
            }
            Change::PutSegment(segment) => match added.last_mut() {
                Some((flow_id, places)) if *flow_id == segment.flow_id && places.len() < SEGMENTS_IN_EVENT => {
                    places.push(place);
                }
                _ => added.push((segment.flow_id, vec![place])),
            },
            Change::DeleteSegment(key) => match removed.last_mut() {
                Some((flow_id, keys)) if *flow_id == key.flow_id => keys.push(*key),
                _ => removed.push((key.flow_id, vec![*key])),
            },
            Change::DeleteSegmentsWithin { flow_id, timerange } => {
                // Segments that stay lie at the ends of the range, so what goes is one run.
                let run = extent_within(view, *flow_id, *timerange)?;
                if !run.is_never() {
                    events.extend(of_removed(before, *flow_id, run, now));
                }
            }
            // A Flow's own deletion makes all its segments unreachable at once; when their rows go, it is long gone.
            Change::PutDeleteRequest(request) if request.delete_flow && before.delete_request(request.id).is_none() => {
                events.extend(of_removed(before, request.flow_id, request.timerange_remaining, now));
            }
            Change::SuspectObject(_)
            | Change::ClearObject(_)
            | Change::CondemnObject(_)
            | Change::PutColdExtent { .. }
            | Change::PutFile(_)
            | Change::RetireFile(_)
            | Change::ForgetFile(_)
            | Change::Flushed { .. }
            | Change::PutService(_)
            | Change::PutProfile(_)
            | Change::PutObject(_)
            | Change::DeleteObject(..)
            | Change::PutDeleteRequest(_)
            | Change::DropDeleteRequest(_)
            | Change::PutWebhook(_)
            | Change::DeleteWebhook(_)
            | Change::AppendEvent(_) => {}
        }
    }
    for (flow_id, places) in added {
        if let Some(flow) = before.flow(flow_id) {
            let event = of_flow(before, EventKind::SegmentsAdded, flow_id, flow.source_id);
            events.push(Event { segments_updated: Some(now), changes: places, ..event });
        }
    }
    for (flow_id, keys) in removed {
        for run in runs(view, flow_id, &keys)? {
            events.extend(of_removed(before, flow_id, run, now));
        }
    }
    Ok(events)
}

fn of_source(before: &State, kind: EventKind, id: SourceId) -> Event {
    Event {
        kind,
        flow_id: None,
        source_id: id,
        flow_collected_by: Vec::new(),
        source_collected_by: collectors_of_source(before, id),
        timerange: None,
        segments_updated: None,
        changes: Vec::new(),
    }
}

fn of_flow(before: &State, kind: EventKind, id: FlowId, source_id: SourceId) -> Event {
    let flow_collected_by = before.collectors_of(id).collect();
    Event { flow_id: Some(id), flow_collected_by, ..of_source(before, kind, source_id) }
}

fn of_removed(before: &State, flow_id: FlowId, run: TimeRange, now: UtcTime) -> Option<Event> {
    let flow = before.flow(flow_id)?;
    let event = of_flow(before, EventKind::SegmentsDeleted, flow_id, flow.source_id);
    Some(Event { timerange: Some(run), segments_updated: Some(now), ..event })
}

fn collectors_of_source(before: &State, id: SourceId) -> Vec<SourceId> {
    let flows = before.flows_of_source(id).flat_map(|flow| before.collectors_of(flow.id));
    let sources: BTreeSet<SourceId> = flows.filter_map(|id| before.flow(id)).map(|flow| flow.source_id).collect();
    sources.into_iter().collect()
}

/// From the first start to the last end of the segments that lie wholly inside.
fn extent_within(view: View<'_>, flow_id: FlowId, timerange: TimeRange) -> Result<TimeRange, ReadError> {
    let inside = |reverse_order| {
        let scan = SegmentScan { flow_id, timerange, reverse_order, after: None };
        for segment in view.scan_stored(&scan) {
            let range = segment?.timerange;
            if timerange.contains(&range) {
                return Ok(range);
            }
        }
        Ok::<_, ReadError>(TimeRange::NEVER)
    };
    Ok(inside(false)?.hull(&inside(true)?))
}

/// Stretches of removed segments with no other segment between them.
fn runs(view: View<'_>, flow_id: FlowId, keys: &[SegmentKey]) -> Result<Vec<TimeRange>, ReadError> {
    let mut keys = keys.to_vec();
    keys.sort_unstable();
    let (Some(first), Some(last)) = (keys.first(), keys.last()) else { return Ok(Vec::new()) };
    let mut keys = keys.iter().peekable();
    let mut runs: Vec<TimeRange> = Vec::new();
    let mut in_run = false;
    for segment in view.stored_between(flow_id, (first.start, last.start.saturating_add(1)), false) {
        let segment = segment?;
        let removed = keys.next_if(|key| **key == SegmentKey::of(&segment)).is_some();
        match runs.last_mut() {
            Some(run) if removed && in_run => *run = run.hull(&segment.timerange),
            _ if removed => runs.push(segment.timerange),
            _ => {}
        }
        in_run = removed;
    }
    Ok(runs)
}
