//! Random histories, told twice: to the catalogue, and to plain lists that know nothing of keys, indexes or order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::subsequence;

use super::helpers::{
    assert_same, clock, flow, flow_id, media, memory, object_id, open, put_object, put_source, segment, source_id,
};
use crate::catalog::{Catalog, Change, CommitError, Draft, SegmentKey, SegmentScan, State, checkpoint};
use crate::domain::{
    Bound, CollectionItem, Flow, FlowSegment, MediaObject, ObjectId, ObjectKind, TimeRange, Timestamp, UtcTime,
};

const FLOWS: u8 = 3;
const OBJECTS: [&str; 5] = ["a", "aa", "b", "ä", "日"];
const INITS: [&str; 2] = ["a-init", "z-init"];
/// The places of the timeline that histories use: its ends, negative times, and neighbouring nanoseconds.
const PLACES: i128 = 9;

fn time(place: i128) -> Timestamp {
    let (min, max) = (Timestamp::MIN.nanoseconds(), Timestamp::MAX.nanoseconds());
    let all = [min, min + 1, -1_000_000_000, -1, 0, 1, 1_000_000_000, max - 1, max];
    Timestamp::from_nanoseconds(all[usize::try_from(place).unwrap()]).unwrap()
}

/// A range by its ends' places and marks; `None` is open.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Span {
    start: Option<(i128, bool)>,
    end: Option<(i128, bool)>,
}

impl Span {
    const ALL: Self = Self { start: None, end: None };

    fn range(self) -> TimeRange {
        let bound = |(place, inclusive)| Bound { at: time(place), inclusive };
        TimeRange::new(self.start.map(bound), self.end.map(bound))
    }

    /// Twice the places that it holds, and the odd numbers between where it holds what lies between two places.
    fn members(self) -> Vec<i128> {
        let after_start =
            |point| self.start.is_none_or(|(at, inclusive)| point > 2 * at || inclusive && point == 2 * at);
        let before_end = |point| self.end.is_none_or(|(at, inclusive)| point < 2 * at || inclusive && point == 2 * at);
        (-1..2 * PLACES).filter(|point| after_start(*point) && before_end(*point)).collect()
    }

    fn overlaps(self, other: Self) -> bool {
        let members = self.members();
        other.members().iter().any(|point| members.contains(point))
    }

    fn contains(self, other: Self) -> bool {
        let members = self.members();
        other.members().iter().all(|point| members.contains(point))
    }
}

#[derive(Debug, Clone)]
enum Action {
    PutFlow { flow: u8, source: u8, members: Vec<u8> },
    DeleteFlow(u8),
    Register { flow: u8, span: Span, object: &'static str, init: Option<&'static str> },
    DeleteWithin { flow: u8, span: Span, object: Option<&'static str> },
    Collect,
    Restart { checkpoint: bool },
}

/// Mostly short, so that there is room for many.
fn bounded() -> impl Strategy<Value = Span> {
    let ends = prop_oneof![
        4 => (0..PLACES, 0..=2i128).prop_map(|(start, length)| (start, (start + length).min(PLACES - 1))),
        1 => (0..PLACES, 0..PLACES).prop_map(|(one, other)| (one.min(other), one.max(other))),
    ];
    (ends, any::<bool>(), any::<bool>())
        .prop_map(|((start, end), start_in, end_in)| Span { start: Some((start, start_in)), end: Some((end, end_in)) })
}

fn any_span() -> impl Strategy<Value = Span> {
    let end = || proptest::option::weighted(0.7, (0..PLACES, any::<bool>()));
    (end(), end()).prop_map(|(start, end)| Span { start, end })
}

fn action() -> impl Strategy<Value = Action> {
    let flow = || 1..=FLOWS;
    let object = || proptest::sample::select(&OBJECTS[..]);
    let init = proptest::option::weighted(0.3, proptest::sample::select(&INITS[..]));
    prop_oneof![
        3 => (flow(), 1..=2u8, subsequence((1..=FLOWS).collect::<Vec<_>>(), 0..=2))
            .prop_map(|(flow, source, members)| Action::PutFlow { flow, source, members }),
        1 => flow().prop_map(Action::DeleteFlow),
        12 => (flow(), bounded(), object(), init)
            .prop_map(|(flow, span, object, init)| Action::Register { flow, span, object, init }),
        4 => (flow(), any_span()).prop_map(|(flow, span)| Action::DeleteWithin { flow, span, object: None }),
        2 => (flow(), any_span(), object())
            .prop_map(|(flow, span, object)| Action::DeleteWithin { flow, span, object: Some(object) }),
        1 => Just(Action::Collect),
        1 => any::<bool>().prop_map(|checkpoint| Action::Restart { checkpoint }),
    ]
}

/// The same catalogue in plain lists.
#[derive(Debug, Default)]
struct Model {
    /// Source, members, and when its segments last changed.
    flows: BTreeMap<u8, (u8, Vec<u8>, Option<UtcTime>)>,
    segments: Vec<(u8, Span, &'static str)>,
    /// The media objects that have a row, with their init object.
    media: BTreeMap<&'static str, Option<&'static str>>,
    inits: BTreeSet<&'static str>,
}

impl Model {
    fn is_condemned(&self, id: &str) -> bool {
        if self.inits.contains(id) {
            !self.media.values().any(|init| *init == Some(id))
        } else {
            self.media.contains_key(id) && !self.segments.iter().any(|(_, _, object)| *object == id)
        }
    }

    /// Whether it does anything.
    fn act(&mut self, action: &Action, now: UtcTime) -> bool {
        match action {
            Action::PutFlow { flow, source, members } => {
                let members = members.iter().copied().filter(|member| member != flow).collect();
                let updated = self.flows.get(flow).and_then(|(_, _, updated)| *updated);
                self.flows.insert(*flow, (*source, members, updated));
                true
            }
            Action::DeleteFlow(flow) => {
                if self.flows.remove(flow).is_none() {
                    return false;
                }
                self.segments.retain(|(of, ..)| of != flow);
                self.flows.values_mut().for_each(|(_, members, _)| members.retain(|member| member != flow));
                true
            }
            Action::Register { flow, span, object, init } => {
                let taken = self.segments.iter().any(|(of, other, _)| of == flow && other.overlaps(*span));
                let new = !self.media.contains_key(object);
                let dead = self.is_condemned(object) || new && init.is_some_and(|init| self.is_condemned(init));
                if taken || dead || span.members().is_empty() {
                    return false;
                }
                let Some((_, _, updated)) = self.flows.get_mut(flow) else { return false };
                *updated = Some(now);
                if new {
                    self.media.insert(object, *init);
                    self.inits.extend(init);
                }
                self.segments.push((*flow, *span, object));
                true
            }
            Action::DeleteWithin { flow, span, object } => {
                let before = self.segments.len();
                self.segments.retain(|(of, inside, uses)| {
                    of != flow || !span.contains(*inside) || object.is_some_and(|object| object != *uses)
                });
                let changed = self.segments.len() < before;
                if changed {
                    self.flows.get_mut(flow).unwrap().2 = Some(now);
                }
                changed
            }
            Action::Collect => {
                let all = self.media.keys().chain(&self.inits).copied();
                let condemned: Vec<_> = all.filter(|id| self.is_condemned(id)).collect();
                self.media.retain(|id, _| !condemned.contains(id));
                self.inits.retain(|id| !condemned.contains(id));
                !condemned.is_empty()
            }
            Action::Restart { .. } => false,
        }
    }

    /// Segments of a Flow that overlap, in timeline order.
    fn scan(&self, flow: u8, window: Span) -> Vec<(TimeRange, ObjectId)> {
        let mut found: Vec<_> =
            self.segments.iter().filter(|(of, span, _)| *of == flow && span.overlaps(window)).collect();
        found.sort_by_key(|(_, span, _)| span.members()[0]);
        found.into_iter().map(|(_, span, object)| (span.range(), object_id(object))).collect()
    }
}

/// The rules of the operations, as far as these histories need them.
fn decide(state: &State, now: UtcTime, action: &Action) -> Vec<Change> {
    match action {
        Action::PutFlow { flow: id, source, members } => {
            let collection = members.iter().filter(|member| *member != id).map(|member| CollectionItem {
                id: flow_id(*member),
                role: None,
                container_mapping: None,
            });
            let put = Flow { flow_collection: collection.collect(), ..flow(*id, *source) };
            let old = state.flow(put.id).map(|old| old.source_id).filter(|old| *old != put.source_id);
            let alone = old.filter(|old| state.flows_of_source(*old).count() == 1);
            vec![put_source(*source), Change::PutFlow(Arc::new(put))]
                .into_iter()
                .chain(alone.map(Change::DeleteSource))
                .collect()
        }
        Action::DeleteFlow(id) => {
            let id = flow_id(*id);
            let Some(old) = state.flow(id) else { return Vec::new() };
            let mut changes = vec![Change::DeleteSegmentsWithin { flow_id: id, timerange: TimeRange::ETERNITY }];
            for collector in state.collectors_of(id).filter(|collector| *collector != id) {
                let mut collector = Flow::clone(state.flow(collector).unwrap());
                collector.flow_collection.retain(|item| item.id != id);
                changes.push(Change::PutFlow(Arc::new(collector)));
            }
            changes.push(Change::DeleteFlow(id));
            changes.extend(
                (state.flows_of_source(old.source_id).count() == 1).then_some(Change::DeleteSource(old.source_id)),
            );
            changes
        }
        Action::Register { flow, span, object, init } => register(state, now, *flow, *span, object, *init),
        Action::DeleteWithin { flow, span, object } => {
            let (flow_id, timerange) = (flow_id(*flow), span.range());
            let scan = SegmentScan { flow_id, timerange, reverse_order: false, after: None };
            let mut inside = state.scan_segments(&scan).filter(|segment| timerange.contains(&segment.timerange));
            match object {
                None => {
                    inside.next().map(|_| Change::DeleteSegmentsWithin { flow_id, timerange }).into_iter().collect()
                }
                Some(object) => inside
                    .filter(|segment| segment.object_id.as_str() == *object)
                    .map(|segment| Change::DeleteSegment(SegmentKey::of(segment)))
                    .collect(),
            }
        }
        Action::Collect => state.condemned().map(|object| Change::DeleteObject(object.id.clone())).collect(),
        Action::Restart { .. } => Vec::new(),
    }
}

fn register(state: &State, now: UtcTime, flow: u8, span: Span, object: &str, init: Option<&str>) -> Vec<Change> {
    let timerange = span.range();
    let id = object_id(object);
    let blocked = state.flow(flow_id(flow)).is_none()
        || !timerange.is_bounded()
        || state.overlapping_segment(flow_id(flow), timerange).is_some()
        || state.is_condemned(&id);
    if blocked {
        return Vec::new();
    }
    // In steps, as a request of many items takes them.
    let mut draft = Draft::new(state, now);
    if state.object(&id).is_none() {
        let init = init.map(object_id);
        if init.as_ref().is_some_and(|init| state.is_condemned(init)) {
            return Vec::new();
        }
        if let Some(init) = init.as_ref().filter(|init| state.object(init).is_none()) {
            let row = media(init.as_str(), flow);
            draft.extend(vec![put_object(MediaObject { kind: Some(ObjectKind::Init), timerange: None, ..row })]);
        }
        let row = MediaObject { init_object: init, ..media(object, flow) };
        draft.extend(vec![put_object(row)]);
        assert!(draft.state().object(&id).is_some(), "a draft does not show its own object");
    }
    draft.extend(vec![Change::PutSegment(Arc::new(FlowSegment { ..segment(flow, timerange, object) }))]);
    assert!(draft.state().overlapping_segment(flow_id(flow), timerange).is_some());
    draft.into_changes()
}

mod checks;

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_catalogue_tells_the_same_history_as_plain_lists(actions in prop::collection::vec(action(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(checks::replay(&actions));
    }
}
