//! The segments of a planned catalogue, as the requests that register them, one batch after the other: nothing of them is
//! kept. Captured segments come first, for edits use their Objects.

use super::dice::{Dice, What};
use super::plan::{Captured, Plan, PlannedFlow, Role};
use crate::domain::{FlowId, ObjectId, TimeRange, Timestamp};
use crate::operations::{MAX_LIMIT, SegmentRequest, Sizes, UncontrolledUrl};

/// Segments of one request of an import or an edit.
const BULK: u64 = MAX_LIMIT as u64;
/// Segments of one request of a live Flow: about two minutes, after which it is the next one's turn.
const LIVE: u64 = 60;
/// Segments of a clip of an edit, at most: a minute or so.
const LONGEST_CLIP: u64 = 30;
/// The start of a Flow that every eighth clip is taken from: some pictures are seen everywhere.
const POPULAR: u64 = 64;

/// One request to register segments.
pub struct Batch {
    pub flow: FlowId,
    /// Objects that need storage before.
    pub allocate: Vec<ObjectId>,
    pub segments: Vec<SegmentRequest>,
    /// Of those Objects and of the init objects: there are no bytes that the media store could measure.
    pub sizes: Sizes,
}

/// Live Flows take turns, imports come Flow by Flow; both are under way at the same time.
pub fn captured(plan: &Plan) -> impl Iterator<Item = Batch> {
    let total = |role| plan.with_role(role).map(|flow| u128::from(flow.segments)).sum::<u128>();
    let (live_total, imports_total) = (total(Role::Live), total(Role::Archive));
    let (mut live, mut imports) = (live(plan).peekable(), imports(plan).peekable());
    let (mut live_done, mut imports_done) = (0_u128, 0_u128);
    std::iter::from_fn(move || {
        let live_is_behind = live_done * imports_total <= imports_done * live_total;
        if imports.peek().is_none() || (live_is_behind && live.peek().is_some()) {
            live.next().inspect(|stretch| live_done += u128::from(stretch.count))
        } else {
            imports.next().inspect(|stretch| imports_done += u128::from(stretch.count))
        }
    })
    .map(|stretch| stretch.batch(plan))
}

/// Edits, Flow by Flow.
pub fn edits(plan: &Plan) -> impl Iterator<Item = Batch> {
    plan.with_role(Role::Edit).flat_map(|flow| {
        let mut edit = Edit::new(plan, flow);
        let id = plan.flow_id(flow.number);
        std::iter::from_fn(move || {
            let segments: Vec<_> = edit.by_ref().take(MAX_LIMIT as usize).collect();
            (!segments.is_empty()).then(|| Batch { flow: id, allocate: Vec::new(), segments, sizes: Sizes::new() })
        })
    })
}

/// Some segments of a captured Flow, one after the other.
struct Stretch {
    flow: usize,
    first: u64,
    count: u64,
}

fn live(plan: &Plan) -> impl Iterator<Item = Stretch> {
    let longest = plan.live().next().map_or(0, |flow| flow.segments);
    (0..longest.div_ceil(LIVE)).flat_map(move |turn| {
        let first = turn * LIVE;
        let going_on = plan.live().take_while(move |flow| flow.segments > first);
        going_on.map(move |flow| Stretch { flow: flow.number, first, count: LIVE.min(flow.segments - first) })
    })
}

fn imports(plan: &Plan) -> impl Iterator<Item = Stretch> {
    plan.with_role(Role::Archive).flat_map(|flow| {
        (0..flow.segments.div_ceil(BULK)).map(|turn| {
            let first = turn * BULK;
            Stretch { flow: flow.number, first, count: BULK.min(flow.segments - first) }
        })
    })
}

impl Stretch {
    fn batch(&self, plan: &Plan) -> Batch {
        let flow = plan.captured(self.flow);
        let numbers = self.first..self.first + self.count;
        let segments: Vec<_> = numbers.clone().map(|number| flow.segment(number)).collect();
        let own = if flow.buckets == 0 { &segments[..] } else { &[] };
        let allocate: Vec<ObjectId> = own.iter().map(|segment| segment.object_id.clone()).collect();
        let mut sizes: Sizes = allocate.iter().cloned().zip(numbers.clone().map(|n| flow.object_size(n))).collect();
        let init = own.iter().zip(numbers.map(|number| flow.restart(number)));
        sizes.extend(
            init.filter_map(|(segment, restart)| {
                Some((segment.init_object_id.clone()?, flow.init_object_size(restart)))
            }),
        );
        Batch { flow: flow.id, allocate, segments, sizes }
    }
}

impl Captured {
    /// The request that registers one of its segments.
    pub fn segment(&self, number: u64) -> SegmentRequest {
        let cut = self.encoding.cut();
        let frames = u64::from(cut.frames_a_segment);
        let (start, end) = (self.time(number, 0), self.time(number, frames));
        let object_id = self.object(number);
        let is_last = number + 1 == self.segments;
        let urls = (0..self.buckets).map(|bucket| {
            let name = if bucket == 0 { "archive-a" } else { "archive-b" };
            let url = format!("https://{name}.example/{}/{object_id}.{}", self.id, cut.extension);
            UncontrolledUrl { url, label: Some(name.into()) }
        });
        let urls: Vec<_> = urls.collect();
        SegmentRequest {
            timerange: TimeRange::half_open(at(start), at(end)),
            ts_offset: at(self.ts_offset(number)),
            object_timerange: None,
            last_duration: (is_last && self.has_short_end).then(|| at((end - self.time(number, frames - 1)) / 2)),
            sample_offset: self.has_sample_counts.then_some(0),
            sample_count: self.has_sample_counts.then_some(i64::from(cut.frames_a_segment)),
            get_urls: (!urls.is_empty()).then_some(urls),
            key_frame_count: self.key_frames,
            init_object_id: cut.has_init.then(|| self.init_object(self.restart(number))),
            object_id,
        }
    }
}

/// The segments of an edit: clips of a few captured Flows, one after the other without a gap, cut to the frame. Clips of
/// several segments use their Objects whole but for the first and the last.
struct Edit {
    material: Vec<Captured>,
    dice: Dice,
    left: u64,
    /// Where the next segment starts, in nanoseconds.
    at: i128,
    clip: Option<Clip>,
}

#[derive(Clone, Copy)]
struct Clip {
    /// Place in the material.
    flow: usize,
    next: u64,
    end: u64,
    /// Frames of the first Object and of the last that are not used.
    lead: u64,
    tail: u64,
    is_first: bool,
}

impl Edit {
    fn new(plan: &Plan, flow: &PlannedFlow) -> Self {
        let mut dice = Dice::new(plan.seed, What::Edit, flow.number as u64);
        // As programmes do: from zero, or from ten o'clock.
        let at = if dice.one_in(2) { 0 } else { 36_000_000_000_000 };
        Self { material: plan.material(flow, &mut dice), dice, left: flow.segments, at, clip: None }
    }

    fn new_clip(&mut self) -> Option<Clip> {
        let dice = &mut self.dice;
        let flow = usize::try_from(dice.below(self.material.len() as u64)).ok()?;
        let captured = self.material.get(flow)?;
        let from = if dice.one_in(8) { POPULAR.min(captured.segments) } else { captured.segments };
        let next = dice.below(from);
        // Short clips are more frequent.
        let lengths = [dice.below(LONGEST_CLIP), dice.below(LONGEST_CLIP)];
        let length = 1 + lengths[0].min(lengths[1]);
        let end = next + length.min(captured.segments - next).min(self.left);
        // Less than half, so that something is left where first and last are the same.
        let half = u64::from(captured.encoding.cut().frames_a_segment).div_ceil(2);
        Some(Clip { flow, next, end, lead: dice.below(half), tail: dice.below(half), is_first: true })
    }
}

impl Iterator for Edit {
    type Item = SegmentRequest;

    fn next(&mut self) -> Option<SegmentRequest> {
        if self.left == 0 {
            return None;
        }
        let clip = match self.clip.take() {
            Some(clip) => clip,
            None => self.new_clip()?,
        };
        let flow = self.material.get(clip.flow)?;
        let frames = u64::from(flow.encoding.cut().frames_a_segment);
        let is_last = clip.next + 1 == clip.end;
        let start = flow.time(clip.next, if clip.is_first { clip.lead } else { 0 });
        let end = flow.time(clip.next, frames - if is_last { clip.tail } else { 0 });
        let object_start = start - flow.ts_offset(clip.next);
        let request = SegmentRequest {
            object_id: flow.object(clip.next),
            timerange: TimeRange::half_open(at(self.at), at(self.at + end - start)),
            ts_offset: at(self.at - object_start),
            object_timerange: None,
            last_duration: None,
            sample_offset: None,
            sample_count: None,
            get_urls: None,
            key_frame_count: None,
            init_object_id: None,
        };
        self.at += end - start;
        self.left -= 1;
        self.clip = (!is_last).then_some(Clip { next: clip.next + 1, is_first: false, ..clip });
        Some(request)
    }
}

#[expect(clippy::expect_used, reason = "the command line bounds the number of segments, and so the times")]
fn at(nanoseconds: i128) -> Timestamp {
    Timestamp::from_nanoseconds(nanoseconds).expect("within 2^48 seconds")
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    /// Everything that a plan registers, with the Flow, in order.
    fn all(plan: &Plan) -> Vec<(FlowId, SegmentRequest)> {
        captured(plan)
            .chain(edits(plan))
            .flat_map(|batch| batch.segments.into_iter().map(move |segment| (batch.flow, segment)))
            .collect()
    }

    #[test]
    fn a_plan_has_exactly_as_many_flows_and_segments_as_asked_and_is_the_same_again() {
        for flows in [1, 2, 3, 4, 10, 57, 400] {
            for segments in [0, 1, 2, 3, 19, 1_000, 20_011] {
                for seed in [0, 1, u64::MAX] {
                    let plan = Plan::new(flows, segments, seed);
                    assert_eq!(plan.flows().len(), flows);
                    assert_eq!(plan.flows().iter().map(|flow| flow.segments).sum::<u64>(), segments);
                    let made = all(&plan);
                    assert_eq!(made.len() as u64, segments, "{flows} {segments} {seed}");
                    let again = all(&Plan::new(flows, segments, seed));
                    assert!(format!("{made:?}") == format!("{again:?}"), "{flows} {segments} {seed}");
                }
            }
        }
    }

    #[test]
    fn another_seed_shares_no_id() {
        let ids = |seed| {
            let plan = Plan::new(40, 500, seed);
            let flows = plan.flows().iter().map(|flow| plan.flow_id(flow.number).to_string());
            let sources = plan.flows().iter().map(|flow| plan.source_id(flow).to_string());
            let objects = all(&plan).into_iter().map(|(_, segment)| segment.object_id.to_string());
            flows.chain(sources).chain(objects).collect::<BTreeSet<_>>()
        };
        assert!(ids(1).is_disjoint(&ids(2)));
    }

    #[test]
    fn segments_of_a_flow_follow_each_other_and_edits_use_what_objects_hold() {
        let plan = Plan::new(120, 200_000, 3);
        let mut ends: BTreeMap<FlowId, i128> = BTreeMap::new();
        let mut objects: BTreeMap<ObjectId, TimeRange> = BTreeMap::new();
        let (mut gaps, mut reused, mut trimmed) = (0, 0, 0);
        for (flow, segment) in all(&plan) {
            let range = segment.timerange;
            let end = ends.insert(flow, range.end_key()).unwrap_or(range.start_key());
            assert!(end <= range.start_key() && range.is_bounded(), "{flow} {range}");
            gaps += usize::from(end < range.start_key());
            let used = range.shift(segment.ts_offset.checked_neg().unwrap()).unwrap();
            match objects.get(&segment.object_id) {
                None => drop(objects.insert(segment.object_id, used)),
                Some(has) => {
                    assert!(has.contains(&used), "{flow} {used} is not in {has}");
                    reused += 1;
                    trimmed += usize::from(*has != used);
                }
            }
        }
        assert_eq!(objects.len() as u64, plan.captured_segments());
        assert_eq!(reused, 100_000);
        assert!(gaps > 0 && (10_000..50_000).contains(&trimmed), "{gaps} {trimmed}");
    }

    #[test]
    fn flows_are_of_many_kinds_and_lengths() {
        let plan = Plan::new(10_000, 10_000_000, 1);
        let longest = plan.flows().iter().map(|flow| flow.segments).max().unwrap();
        assert!((100_000..2_000_000).contains(&longest), "{longest}");
        let short = plan.flows().iter().filter(|flow| flow.segments < 1_000).count();
        assert!(short > 5_000, "{short}");
        let encodings: BTreeSet<_> = plan.flows().iter().map(|flow| flow.encoding as usize).collect();
        assert_eq!(encodings.len(), super::super::encoding::Encoding::COUNT);
        for role in [Role::Live, Role::Archive, Role::Edit, Role::Collection] {
            let count = plan.with_role(role).count();
            assert!(count > 500, "{role:?} {count}");
        }
        let segments = |role| plan.with_role(role).map(|flow| flow.segments).sum::<u64>();
        assert_eq!(segments(Role::Edit), 5_000_000);
        assert!(segments(Role::Live) > 1_500_000 && segments(Role::Archive) > 1_000_000);
        let elsewhere = plan.flows().iter().filter(|flow| plan.captured(flow.number).buckets > 0).count();
        assert!((300..2_500).contains(&elsewhere), "{elsewhere}");
        let collection = plan.with_role(Role::Collection).next().unwrap();
        assert!(plan.members(collection).len() >= 2);
        assert!(plan.sources() < plan.flows().len());
        for flow in plan.flows() {
            flow.encoding.technical().unwrap();
        }
    }

    #[test]
    fn objects_of_our_own_have_the_sizes_that_their_bit_rates_make() {
        let plan = Plan::new(120, 20_000, 3);
        let (mut sized, mut unsized_, mut init) = (0, 0, 0);
        for batch in captured(&plan) {
            let encoding = plan.flows().iter().find(|flow| plan.flow_id(flow.number) == batch.flow).unwrap().encoding;
            for segment in &batch.segments {
                init += usize::from(segment.init_object_id.as_ref().is_some_and(|id| batch.sizes.contains_key(id)));
                let Some(size) = batch.sizes.get(&segment.object_id) else {
                    unsized_ += 1;
                    assert!(segment.get_urls.is_some());
                    continue;
                };
                let [start, end] = [segment.timerange.start(), segment.timerange.end()];
                let seconds = (end.unwrap().at.nanoseconds() - start.unwrap().at.nanoseconds()) as f64 / 1e9;
                let mean = encoding.cut().bit_rate as f64 * 125.0 * seconds;
                assert!((0.74..=1.26).contains(&(*size as f64 / mean)), "{size} bytes instead of {mean}");
                sized += 1;
            }
        }
        assert!(sized > 1_000 && unsized_ > 0 && init > 0, "{sized} {unsized_} {init}");
    }

    #[test]
    fn live_flows_take_turns() {
        let plan = Plan::new(200, 100_000, 3);
        let flows: Vec<FlowId> = captured(&plan).take(100).map(|batch| batch.flow).collect();
        let changes = flows.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!(changes > 50, "{changes}");
    }

    #[test]
    #[ignore = "a measurement: cargo test --release -- --ignored --nocapture batches_a_second"]
    fn batches_a_second() {
        let watch = crate::clock::Stopwatch::start();
        let plan = Plan::new(10_000, 10_000_000, 1);
        let planned = watch.elapsed();
        let segments: usize = captured(&plan).chain(edits(&plan)).map(|batch| batch.segments.len()).sum();
        println!("planned in {planned:?}; {segments} segments in {:?}", watch.elapsed());
    }
}
