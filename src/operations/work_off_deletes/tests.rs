//! The decisions, stretch by stretch, without a server.

use super::*;
use crate::catalog::{Draft, SegmentScan, State};
use crate::domain::{
    Essence, Flow, FlowSegment, MediaObject, ObjectKind, Source, SourceId, Tags, Technical, Timestamp,
};

fn now() -> UtcTime {
    UtcTime::from_timestamp(1_700_000_000, 0).unwrap()
}

fn flow_id() -> FlowId {
    FlowId::from_random([1; 16])
}

fn seconds(from: i32, to: i32) -> TimeRange {
    TimeRange::half_open(Timestamp::from_seconds(from), Timestamp::from_seconds(to))
}

fn object(second: i32) -> ObjectId {
    if second % 2 == 0 { "even" } else { "odd" }.parse().unwrap()
}

fn segment(second: i32) -> Change {
    Change::PutSegment(Arc::new(FlowSegment {
        flow_id: flow_id(),
        timerange: seconds(second, second + 1),
        object_id: object(second),
        ts_offset: Timestamp::ZERO,
        last_duration: None,
        sample_offset: None,
        sample_count: None,
        init_object: None,
        object_place: None,
        registered: None,
    }))
}

/// A Flow with segments of a second each from 0 on, every other one of the same Object.
fn with_segments(count: i32) -> State {
    let source = SourceId::from_random([2; 16]);
    let essence = Essence::Multi(None);
    let mut changes = vec![
        Change::PutSource(Arc::new(Source {
            id: source,
            format: essence.format(),
            label: None,
            description: None,
            tags: Tags::new(),
            created: now(),
            created_by: None,
            updated: now(),
            updated_by: None,
        })),
        Change::PutFlow(Arc::new(Flow {
            id: flow_id(),
            source_id: source,
            label: None,
            description: None,
            tags: Tags::new(),
            generation: None,
            status: None,
            read_only: false,
            max_bit_rate: None,
            technical: Technical {
                codec: None,
                container: None,
                avg_bit_rate: None,
                segment_duration: None,
                container_mapping: None,
                essence,
            },
            profile_id: None,
            flow_collection: Vec::new(),
            metadata_version: "1".into(),
            created: now(),
            created_by: None,
            metadata_updated: now(),
            updated_by: None,
        })),
    ];
    changes.extend([0, 1].map(|second| {
        Change::PutObject(Arc::new(MediaObject {
            id: object(second),
            kind: Some(ObjectKind::Media),
            first_flow: flow_id(),
            timerange: Some(seconds(0, 1)),
            key_frame_count: None,
            init_object: None,
            allocation: None,
            instances: Vec::new(),
            condemned_instances: Vec::new(),
            condemned: false,
            created: now(),
            size_bytes: None,
        }))
    }));
    changes.extend((0..count).map(segment));
    apply(&State::empty(), changes)
}

fn apply(state: &State, changes: Vec<Change>) -> State {
    let mut draft = Draft::new(View::of_hot(state), now());
    draft.extend(changes);
    draft.view().state().clone()
}

impl Deletion {
    fn decide_on(&self, state: &State, at_once: usize) -> (Vec<Change>, Option<Arc<DeleteRequest>>) {
        self.decide(View::of_hot(state), now(), at_once).unwrap()
    }
}

fn next_stretch(state: &State, id: DeleteRequestId, at_once: usize) -> Vec<Change> {
    decide(View::of_hot(state), now(), id, at_once).unwrap()
}

fn is_blocked(state: &State, timerange: TimeRange, id: &ObjectId) -> bool {
    View::of_hot(state).deletion_in_the_way(flow_id(), timerange, id).unwrap().is_some()
}

fn deletion(timerange: TimeRange) -> Deletion {
    let id = DeleteRequestId::from_random([3; 16]);
    Deletion { id, flow_id: flow_id(), timerange, object_id: None, delete_flow: false }
}

/// First seconds of the segments that readers see.
fn seen(state: &State, reverse_order: bool) -> Vec<i64> {
    let scan = SegmentScan { flow_id: flow_id(), timerange: TimeRange::ETERNITY, reverse_order, after: None };
    View::of_hot(state)
        .scan_segments(&scan)
        .filter_map(|segment| segment.unwrap().timerange.start())
        .map(|start| start.at.to_parts().0)
        .collect()
}

fn stored(state: &State) -> usize {
    let scan = SegmentScan { flow_id: flow_id(), timerange: TimeRange::ETERNITY, reverse_order: false, after: None };
    View::of_hot(state).scan_stored(&scan).count()
}

#[test]
fn what_fits_into_one_commit_needs_no_request() {
    let state = with_segments(10);
    let (changes, request) = deletion(seconds(2, 6)).decide_on(&state, 4);
    assert!(request.is_none());
    assert_eq!(changes, [Change::DeleteSegmentsWithin { flow_id: flow_id(), timerange: seconds(2, 6) }]);
    assert_eq!(seen(&apply(&state, changes), false), [0, 1, 6, 7, 8, 9]);
    assert_eq!(deletion(TimeRange::NEVER).decide_on(&state, 4), (vec![], None));
    assert_eq!(deletion(seconds(50, 60)).decide_on(&state, 4), (vec![], None));
}

#[test]
fn more_is_hidden_at_once_and_goes_stretch_by_stretch() {
    let state = with_segments(12);
    let (changes, request) = deletion(TimeRange::new(seconds(2, 3).start(), None)).decide_on(&state, 3);
    let request = request.unwrap();
    assert_eq!((request.timerange_remaining, request.status), (seconds(2, 12), DeleteStatus::Created));
    let mut state = apply(&state, changes);
    let mut remaining = Vec::new();
    while let Some(id) = state.next_deletion().map(|request| request.id) {
        assert_eq!(seen(&state, false), [0, 1]);
        assert_eq!(seen(&state, true), [1, 0]);
        assert_eq!(View::of_hot(&state).segments_extent(flow_id(), TimeRange::ETERNITY).unwrap(), seconds(0, 2));
        state = apply(&state, next_stretch(&state, id, 3));
        let request = state.delete_request(id).unwrap();
        remaining.push((stored(&state), request.timerange_remaining, request.status));
    }
    assert_eq!(
        remaining,
        [
            (9, seconds(5, 12), DeleteStatus::Started),
            (6, seconds(8, 12), DeleteStatus::Started),
            (3, seconds(11, 12), DeleteStatus::Started),
            (2, TimeRange::NEVER, DeleteStatus::Done),
        ]
    );
    let done = state.delete_request(request.id).unwrap();
    assert_eq!(done.expiry, Some(now() + EXPIRY));
    assert_eq!(state.expired_deletions(now()).count(), 0);
    assert_eq!(state.expired_deletions(now() + EXPIRY).count(), 1);
    assert!(next_stretch(&state, request.id, 3).is_empty(), "done is done");
}

#[test]
fn a_deletion_is_in_the_way_of_what_it_would_delete_and_of_nothing_else() {
    let state = with_segments(10);
    let (changes, _) = deletion(seconds(2, 8)).decide_on(&state, 3);
    let state = apply(&state, changes);
    let blocked = |from, to| is_blocked(&state, seconds(from, to), &object(0));
    assert!(blocked(2, 3) && blocked(7, 9) && blocked(0, 20));
    assert!(!blocked(8, 9) && !blocked(10, 12) && !blocked(0, 2));
    let later = apply(&state, vec![segment(20)]);
    assert_eq!(seen(&later, false), [0, 1, 8, 9, 20]);
    let after = apply(&later, next_stretch(&later, deletion(seconds(2, 8)).id, 100));
    assert_eq!(seen(&after, false), [0, 1, 8, 9, 20]);
    assert!(after.next_deletion().is_none());
}

#[test]
fn a_deletion_of_one_object_hides_that_alone() {
    let state = with_segments(10);
    let even = Deletion { object_id: Some(object(0)), ..deletion(TimeRange::ETERNITY) };
    let (changes, request) = even.decide_on(&state, 2);
    assert_eq!(request.unwrap().timerange_remaining, seconds(0, 9));
    let mut state = apply(&state, changes);
    assert_eq!(seen(&state, false), [1, 3, 5, 7, 9]);
    let blocked = |second, id: ObjectId| is_blocked(&state, seconds(second, second + 1), &id);
    assert!(blocked(4, object(1)), "the segment is still there");
    assert!(blocked(5, object(0)) && !blocked(5, object(1)) && !blocked(9, object(0)));
    state = apply(&state, next_stretch(&state, even.id, 2));
    assert_eq!((seen(&state, false), stored(&state)), (vec![1, 3, 5, 7, 9], 8));
    assert_eq!(state.delete_request(even.id).unwrap().timerange_remaining, seconds(4, 9));
    state = apply(&state, next_stretch(&state, even.id, 100));
    assert_eq!((seen(&state, false), stored(&state)), (vec![1, 3, 5, 7, 9], 5));
    assert!(state.is_suspect(&object(0)) && !state.is_suspect(&object(1)));
}

#[test]
fn a_flow_takes_the_segments_of_a_deletion_that_was_running_along() {
    let state = with_segments(10);
    let (changes, first) = deletion(seconds(2, 6)).decide_on(&state, 2);
    let state = apply(&state, changes);
    let whole =
        Deletion { id: DeleteRequestId::from_random([4; 16]), delete_flow: true, ..deletion(TimeRange::ETERNITY) };
    let (mut changes, second) = whole.decide_on(&state, 2);
    assert_eq!(second.unwrap().timerange_remaining, seconds(0, 10));
    changes.push(Change::DeleteFlow(flow_id()));
    let mut state = apply(&state, changes);
    assert!(state.flow(flow_id()).is_none() && state.is_being_deleted(flow_id()));
    assert_eq!(seen(&state, false), Vec::<i64>::new());
    assert_eq!(View::of_hot(&state).flows_referring_to(&object(0), None).count(), 0);
    while let Some(id) = state.next_deletion().map(|request| request.id) {
        state = apply(&state, next_stretch(&state, id, 2));
    }
    assert!(!state.is_being_deleted(flow_id()));
    assert_eq!(stored(&state), 0);
    assert!(state.segments_updated(flow_id()).is_none());
    assert!(state.delete_request(first.unwrap().id).unwrap().is_done());
}
