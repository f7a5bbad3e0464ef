//! Random histories, told twice: to the catalogue, whose rows go to cold files of a few rows and come back through a cache
//! that keeps nothing, and to plain lists that know nothing of keys, indexes, order, files or tombstones.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::subsequence;

use super::helpers::{
    Log, ask, assert_same, clock, commit, flow, flow_id, keep, known_files, media, memory, object_id,
    open_without_cache, put_object, put_source, segment, source_id, with_small_files,
};
use crate::catalog::{
    Catalog, Change, Draft, ReadError, SegmentKey, SegmentScan, Store, View, checkpoint, compact, flush, paths,
};
use crate::domain::{
    Bound, CollectionItem, DeleteRequest, DeleteRequestId, DeleteStatus, Flow, FlowSegment, MediaObject, ObjectId,
    ObjectKind, TimeRange, Timestamp, UtcTime,
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
}

#[derive(Debug, Clone)]
enum Action {
    PutFlow {
        flow: u8,
        source: u8,
        members: Vec<u8>,
    },
    DeleteFlow(u8),
    Register {
        flow: u8,
        span: Span,
        object: &'static str,
        init: Option<&'static str>,
    },
    DeleteWithin {
        flow: u8,
        span: Span,
        object: Option<&'static str>,
    },
    /// A Flow Delete Request, of the whole Flow where it says so.
    Request {
        flow: u8,
        span: Span,
        object: Option<&'static str>,
        delete_flow: bool,
    },
    WorkOff {
        at_once: usize,
    },
    /// Finds out which of the first suspects are used...
    Look {
        most: usize,
    },
    /// ...and says so, some actions later.
    Judge,
    Collect,
    Flush,
    Compact,
    CompactAll,
    Restart {
        checkpoint: bool,
    },
    /// A checkpoint, and what goes with it.
    Tidy,
}

impl Action {
    /// Whether answers stay as they are.
    fn is_maintenance(&self) -> bool {
        matches!(
            self,
            Self::Look { .. } | Self::Flush | Self::Compact | Self::CompactAll | Self::Restart { .. } | Self::Tidy
        )
    }
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
        14 => (flow(), bounded(), object(), init)
            .prop_map(|(flow, span, object, init)| Action::Register { flow, span, object, init }),
        3 => (flow(), any_span()).prop_map(|(flow, span)| Action::DeleteWithin { flow, span, object: None }),
        2 => (flow(), any_span(), object())
            .prop_map(|(flow, span, object)| Action::DeleteWithin { flow, span, object: Some(object) }),
        2 => (flow(), any_span(), proptest::option::weighted(0.4, object()), proptest::bool::weighted(0.15))
            .prop_map(|(flow, span, object, delete_flow)| Action::Request { flow, span, object, delete_flow }),
        3 => (1..=2usize).prop_map(|at_once| Action::WorkOff { at_once }),
        2 => prop_oneof![Just(usize::MAX), 1..3usize].prop_map(|most| Action::Look { most }),
        2 => Just(Action::Judge),
        2 => Just(Action::Collect),
        5 => Just(Action::Flush),
        1 => Just(Action::Compact),
        2 => Just(Action::CompactAll),
        2 => any::<bool>().prop_map(|checkpoint| Action::Restart { checkpoint }),
        1 => Just(Action::Tidy),
    ]
}

#[derive(Debug, Clone, Copy)]
struct Media {
    first_flow: u8,
    init: Option<&'static str>,
}

/// A Flow Delete Request that is not done.
#[derive(Debug, Clone)]
struct Request {
    flow: u8,
    /// The first and the last of [`Span::members`] that are left.
    remaining: (i128, i128),
    object: Option<&'static str>,
    delete_flow: bool,
}

type Segment = (u8, Span, &'static str);

impl Request {
    fn is_about(&self, object: &str) -> bool {
        self.object.is_none_or(|wanted| wanted == object)
    }

    fn covers(&self, (flow, span, object): &Segment) -> bool {
        let (first, last) = self.remaining;
        *flow == self.flow && self.is_about(object) && span.members().iter().all(|at| (first..=last).contains(at))
    }
}

/// The same catalogue in plain lists.
#[derive(Debug, Default)]
struct Model {
    /// Source, members, and when its segments last changed.
    flows: BTreeMap<u8, (u8, Vec<u8>, Option<UtcTime>)>,
    segments: Vec<Segment>,
    media: BTreeMap<&'static str, Media>,
    /// With the Flow that brought it.
    inits: BTreeMap<&'static str, u8>,
    /// With the number of the action that last made it one.
    suspects: BTreeMap<&'static str, usize>,
    condemned: BTreeSet<&'static str>,
    requests: Vec<Request>,
    actions: usize,
    looked: Option<(usize, Vec<&'static str>)>,
}

impl Model {
    fn is_used(&self, id: &str) -> bool {
        self.segments.iter().any(|(_, _, object)| *object == id || self.media[object].init == Some(id))
    }

    fn is_hidden(&self, segment: &Segment) -> bool {
        self.requests.iter().any(|request| request.covers(segment))
    }

    fn visible(&self, flow: u8) -> impl Iterator<Item = &Segment> {
        self.segments.iter().filter(move |segment| segment.0 == flow && !self.is_hidden(segment))
    }

    /// Stored segments that it covers, in timeline order.
    fn covered(&self, request: &Request) -> Vec<Segment> {
        let mut found: Vec<_> = self.segments.iter().copied().filter(|segment| request.covers(segment)).collect();
        found.sort_by_key(|(_, span, _)| span.members()[0]);
        found
    }

    fn wanted(&self, flow: u8, span: Span, object: Option<&'static str>) -> Request {
        let members = span.members();
        let remaining = members.first().copied().zip(members.last().copied()).unwrap_or((1, 0));
        Request { flow, remaining, object, delete_flow: false }
    }

    fn delete(&mut self, gone: &[Segment], now: UtcTime) {
        self.segments.retain(|segment| !gone.contains(segment));
        for (flow, _, object) in gone {
            self.suspects.insert(object, self.actions);
            self.suspects.extend(self.media[object].init.map(|init| (init, self.actions)));
            if let Some((_, _, updated)) = self.flows.get_mut(flow) {
                *updated = Some(now);
            }
        }
    }

    fn remove_flow(&mut self, flow: u8) {
        self.flows.remove(&flow);
        self.flows.values_mut().for_each(|(_, members, _)| members.retain(|member| *member != flow));
    }

    fn is_in_the_way(&self, request: &Request, span: Span, object: &str) -> bool {
        let (first, last) = request.remaining;
        let hidden = |segment: &Segment| request.covers(segment) && segment.1.overlaps(span);
        span.members().iter().any(|at| (first..=last).contains(at))
            && (request.is_about(object) || self.segments.iter().any(hidden))
    }

    /// Whether it does anything. `flushed` is whether rows of after the last look are in files.
    fn act(&mut self, action: &Action, now: UtcTime, flushed: bool) -> bool {
        self.actions += 1;
        match action {
            Action::PutFlow { flow, source, members } => {
                if self.requests.iter().any(|request| request.flow == *flow && request.delete_flow) {
                    return false;
                }
                let members = members.iter().copied().filter(|member| member != flow).collect();
                let updated = self.flows.get(flow).and_then(|(_, _, updated)| *updated);
                self.flows.insert(*flow, (*source, members, updated));
                true
            }
            Action::DeleteFlow(flow) => {
                let gone: Vec<_> = self.segments.iter().copied().filter(|segment| segment.0 == *flow).collect();
                let is_there = self.flows.contains_key(flow);
                if is_there {
                    self.delete(&gone, now);
                    self.remove_flow(*flow);
                }
                is_there
            }
            Action::Register { flow, span, object, init } => {
                let known = self.media.get(object).copied();
                let init = known.map_or(*init, |media| media.init);
                let taken = self.visible(*flow).any(|(_, other, _)| other.overlaps(*span));
                let dead = self.condemned.contains(object) || init.is_some_and(|init| self.condemned.contains(init));
                let mut requests = self.requests.iter().filter(|request| request.flow == *flow);
                let blocked = requests.any(|request| self.is_in_the_way(request, *span, object));
                if taken || dead || blocked || span.members().is_empty() {
                    return false;
                }
                let Some((_, _, updated)) = self.flows.get_mut(flow) else { return false };
                *updated = Some(now);
                if known.is_none() {
                    self.media.insert(object, Media { first_flow: *flow, init });
                    if let Some(init) = init {
                        self.inits.entry(init).or_insert(*flow);
                    }
                }
                self.segments.push((*flow, *span, object));
                true
            }
            Action::DeleteWithin { flow, span, object } => {
                let gone = self.covered(&self.wanted(*flow, *span, *object));
                // A Flow that is gone cannot be asked for it.
                if !self.flows.contains_key(flow) {
                    return false;
                }
                self.delete(&gone, now);
                !gone.is_empty()
            }
            Action::Request { flow, span, object, delete_flow } => {
                let (span, object) = if *delete_flow { (Span::ALL, None) } else { (*span, *object) };
                let wanted = self.wanted(*flow, span, object);
                let covered = self.covered(&wanted);
                let (Some((_, first, _)), Some((_, last, _))) = (covered.first(), covered.last()) else { return false };
                if !self.flows.contains_key(flow) {
                    return false;
                }
                let remaining = (first.members()[0], *last.members().last().unwrap());
                self.requests.push(Request { remaining, delete_flow: *delete_flow, ..wanted });
                if *delete_flow {
                    self.remove_flow(*flow);
                }
                true
            }
            Action::WorkOff { at_once } => {
                let Some(request) = self.requests.first().cloned() else { return false };
                let mut covered = self.covered(&request);
                let rest = covered.split_off((*at_once).min(covered.len()));
                self.delete(&covered, now);
                match rest.first() {
                    Some((_, next, _)) => self.requests[0].remaining.0 = next.members()[0],
                    None => drop(self.requests.remove(0)),
                }
                true
            }
            Action::Look { most } => {
                self.looked = Some((self.actions, self.suspects.keys().copied().take(*most).collect()));
                false
            }
            Action::Judge => {
                let Some((looked, ids)) = self.looked.take().filter(|_| !flushed) else { return false };
                // One that lost another reference since is left for the next look.
                let judged = ids.into_iter().filter(|id| self.suspects.get(id).is_some_and(|since| *since < looked));
                let judged: Vec<_> = judged.collect();
                for id in &judged {
                    self.suspects.remove(id);
                    if !self.is_used(id) {
                        self.condemned.insert(id);
                    }
                }
                !judged.is_empty()
            }
            Action::Collect => {
                let condemned = std::mem::take(&mut self.condemned);
                self.media.retain(|id, _| !condemned.contains(id));
                self.inits.retain(|id, _| !condemned.contains(id));
                self.suspects.retain(|id, _| !condemned.contains(id));
                !condemned.is_empty()
            }
            _ => false,
        }
    }

    /// Segments of a Flow that overlap, in timeline order.
    fn scan(&self, flow: u8, window: Span) -> Vec<(TimeRange, ObjectId)> {
        let mut found: Vec<_> = self.visible(flow).filter(|(_, span, _)| span.overlaps(window)).collect();
        found.sort_by_key(|(_, span, _)| span.members()[0]);
        found.into_iter().map(|(_, span, object)| (span.range(), object_id(object))).collect()
    }
}

/// What was found out of suspects, and the entry until which it holds.
#[derive(Debug, Clone, Default)]
struct Looked {
    seen: u64,
    verdicts: Vec<(ObjectId, bool)>,
}

/// The rules of the operations, as far as these histories need them.
fn decide(view: View<'_>, now: UtcTime, action: &Action, looked: &Looked) -> Result<Vec<Change>, ReadError> {
    Ok(match action {
        Action::PutFlow { flow: id, source, members } => {
            let collection = members.iter().filter(|member| *member != id).map(|member| CollectionItem {
                id: flow_id(*member),
                role: None,
                container_mapping: None,
            });
            let put = Flow { flow_collection: collection.collect(), ..flow(*id, *source) };
            if view.is_being_deleted(put.id) {
                return Ok(Vec::new());
            }
            let old = view.flow(put.id).map(|old| old.source_id).filter(|old| *old != put.source_id);
            let alone = old.filter(|old| view.flows_of_source(*old).count() == 1);
            vec![put_source(*source), Change::PutFlow(Arc::new(put))]
                .into_iter()
                .chain(alone.map(Change::DeleteSource))
                .collect()
        }
        Action::DeleteFlow(id) => {
            if view.flow(flow_id(*id)).is_none() {
                return Ok(Vec::new());
            }
            let all = request(now, *id, TimeRange::ETERNITY, None);
            let segments = view.still_to_delete(&all).collect::<Result<Vec<_>, _>>()?;
            view.delete(&all, &segments, now)?.into_iter().chain(without_flow(view, *id)).collect()
        }
        Action::Register { flow, span, object, init } => register(view, now, *flow, *span, object, *init)?,
        Action::DeleteWithin { flow, span, object } => {
            if view.flow(flow_id(*flow)).is_none() {
                return Ok(Vec::new());
            }
            let wanted = request(now, *flow, span.range(), *object);
            let segments = view.still_to_delete(&wanted).collect::<Result<Vec<_>, _>>()?;
            view.delete(&wanted, &segments, now)?
        }
        Action::Request { flow, span, object, delete_flow } => {
            let (timerange, object) = if *delete_flow { (TimeRange::ETERNITY, None) } else { (span.range(), *object) };
            let wanted = request(now, *flow, timerange, object);
            let first = view.still_to_delete(&wanted).next().transpose()?;
            let last = view.last_to_delete(&wanted)?;
            let (Some(first), Some(last), Some(_)) = (first, last, view.flow(flow_id(*flow))) else {
                return Ok(Vec::new());
            };
            let timerange_remaining = first.timerange.hull(&last.timerange);
            let put = DeleteRequest { timerange_remaining, delete_flow: *delete_flow, ..wanted };
            let flow = if *delete_flow { without_flow(view, *flow) } else { Vec::new() };
            std::iter::once(Change::PutDeleteRequest(Arc::new(put))).chain(flow).collect()
        }
        Action::WorkOff { at_once } => {
            let Some(request) = view.next_deletion().cloned() else { return Ok(Vec::new()) };
            let mut left = view.still_to_delete(&request);
            let stretch = left.by_ref().take(*at_once).collect::<Result<Vec<_>, _>>()?;
            let next = left.next().transpose()?;
            let mut changes = view.delete(&request, &stretch, now)?;
            let end = request.timerange_remaining.end_key();
            let remaining = next.map(|next| TimeRange::from_keys(next.timerange.start_key(), end));
            changes.push(Change::PutDeleteRequest(Arc::new(DeleteRequest {
                status: if remaining.is_some() { DeleteStatus::Started } else { DeleteStatus::Done },
                timerange_remaining: remaining.unwrap_or(TimeRange::NEVER),
                ..DeleteRequest::clone(&request)
            })));
            changes
        }
        Action::Judge => view.verdicts(&looked.verdicts, looked.seen),
        Action::Collect => {
            let mut changes = Vec::new();
            for id in view.condemned() {
                let object = view.object(id)?.unwrap_or_else(|| panic!("{id} is condemned and not there"));
                changes.push(Change::DeleteObject(id.clone(), object.place()));
            }
            changes
        }
        _ => Vec::new(),
    })
}

fn request(now: UtcTime, flow: u8, timerange: TimeRange, object: Option<&str>) -> DeleteRequest {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&now.timestamp().to_be_bytes());
    DeleteRequest {
        id: DeleteRequestId::from_random(id),
        flow_id: flow_id(flow),
        timerange_to_delete: timerange,
        timerange_remaining: timerange,
        delete_flow: false,
        status: DeleteStatus::Created,
        created: now,
        created_by: None,
        updated: now,
        expiry: None,
        object_id: object.map(object_id),
    }
}

fn without_flow(view: View<'_>, id: u8) -> Vec<Change> {
    let id = flow_id(id);
    let mut changes = Vec::new();
    for collector in view.collectors_of(id).filter(|collector| *collector != id) {
        let mut collector = Flow::clone(view.flow(collector).unwrap());
        collector.flow_collection.retain(|item| item.id != id);
        changes.push(Change::PutFlow(Arc::new(collector)));
    }
    changes.push(Change::DeleteFlow(id));
    let source = view.flow(id).unwrap().source_id;
    changes.extend((view.flows_of_source(source).count() == 1).then_some(Change::DeleteSource(source)));
    changes
}

fn register(
    view: View<'_>,
    now: UtcTime,
    flow: u8,
    span: Span,
    object: &str,
    init: Option<&str>,
) -> Result<Vec<Change>, ReadError> {
    let (timerange, id) = (span.range(), object_id(object));
    let known = view.object(&id)?;
    let init = known.as_ref().map_or(init.map(object_id), |known| known.init_object.clone());
    let blocked = view.flow(flow_id(flow)).is_none()
        || !timerange.is_bounded()
        || view.deletion_in_the_way(flow_id(flow), timerange, &id)?.is_some()
        || view.overlapping_segment(flow_id(flow), timerange)?.is_some()
        || view.is_condemned(&id)
        || init.as_ref().is_some_and(|init| view.is_condemned(init));
    if blocked {
        return Ok(Vec::new());
    }
    // In steps, as a request of many items takes them.
    let mut draft = Draft::new(view, now);
    let row = match known {
        Some(known) => MediaObject::clone(&known),
        None => {
            if let Some(init) = &init
                && view.object(init)?.is_none()
            {
                let row = media(init.as_str(), flow);
                draft.extend(vec![put_object(MediaObject { kind: Some(ObjectKind::Init), timerange: None, ..row })]);
            }
            let row = MediaObject { init_object: init.clone(), ..media(object, flow) };
            draft.extend(vec![put_object(row.clone())]);
            assert!(draft.view().object(&id)?.is_some(), "a draft does not show its own object");
            row
        }
    };
    let mut new = FlowSegment { init_object: init, ..segment(flow, timerange, object) };
    new.object_place = Some(row.place()).filter(|place| Some(*place) != new.likely_place());
    draft.extend(vec![Change::PutSegment(Arc::new(new))]);
    assert!(draft.view().overlapping_segment(flow_id(flow), timerange)?.is_some());
    Ok(draft.into_changes())
}

mod checks;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases()) })]

    #[test]
    fn the_catalogue_tells_the_same_history_as_plain_lists(actions in prop::collection::vec(action(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        with_small_files(|| runtime.block_on(checks::replay(&actions)));
    }
}

/// `PROPTEST_CASES` says otherwise.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(256)
}
