//! Which Flows a synthetic catalogue has and how many segments each: a pure function of (flows, segments, seed). It
//! remembers a few numbers a Flow and nothing a segment.
//!
//! Flows come in groups that share content: a live channel, an import from an archive, an edit. How long a group is has a
//! heavy tail (Pareto, shape 1, for what was captured, shape 2 for edits): a few are very long, most are short. Half of all
//! segments are captured, half are edits of those.

use super::dice::{Dice, What, id_bytes, object_id};
use super::encoding::Encoding;
use super::encoding::Encoding::*;
use crate::domain::{ContentFormat, FlowId, ObjectId, SourceId};

const LIVE: &[&[Encoding]] = &[
    &[Avc1080p50, Aac],
    &[Avc1080p50, Avc720p50, Avc360p25, Aac, Programme],
    &[Hevc2160p50, Hevc1080p50, AacMp4, Events, Programme],
    &[Avc1080p2997, Aac2997, Programme],
    &[Aac, Events],
];
const ARCHIVE: &[&[Encoding]] = &[
    &[Avc1080p25, AacMp4, Programme],
    &[Avc1080p25, Avc360p25, Pcm, Programme],
    &[Hevc1080p50, AacMp4],
    &[Avc1080p2997, Aac2997],
    &[Pcm],
];
/// Groups in a hundred.
const LIVE_SHARE: u64 = 15;
const ARCHIVE_SHARE: u64 = 30;
/// The longest group is at most so many times as long as the shortest.
const LONGEST: u64 = 4_096;
/// Wall-clock time that live Flows start within, in seconds of TAI: two years from November 2023.
const LIVE_FROM: u64 = 1_700_000_000;
const LIVE_WITHIN: u64 = 2 * 365 * 24 * 60 * 60;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Ingested as it happens: on the timeline of TAI, interleaved with others, sometimes with gaps.
    Live,
    /// Imported in bulk, from zero on.
    Archive,
    /// Made of parts of other Flows' Objects.
    Edit,
    /// Collects the others of its group.
    Collection,
}

#[derive(Debug, Clone, PartialEq)]
pub struct PlannedFlow {
    pub number: usize,
    pub group: u64,
    pub role: Role,
    pub encoding: Encoding,
    pub segments: u64,
}

pub struct Plan {
    pub seed: u64,
    pub segments: u64,
    flows: Vec<PlannedFlow>,
    /// Captured Flows that have segments, by encoding: what edits are made of.
    captured: Vec<Vec<usize>>,
    /// Live Flows that have segments, the longest first.
    live: Vec<usize>,
}

/// Where and how a captured Flow's segments lie: what all of them have in common.
#[derive(Debug, Clone)]
pub struct Captured {
    pub number: usize,
    pub id: FlowId,
    pub encoding: Encoding,
    pub segments: u64,
    /// Counted from the Flow's zero.
    first_frame: u64,
    restarts: Option<Restarts>,
    /// Whether media starts at zero in each Object, or has the Flow's own times.
    objects_start_at_zero: bool,
    /// Buckets elsewhere that the bytes are in, instead of in our own storage.
    pub buckets: u8,
    pub key_frames: Option<i64>,
    pub has_sample_counts: bool,
    pub has_short_end: bool,
    seed: u64,
}

/// The encoder was restarted now and then; what it missed is a gap.
#[derive(Debug, Clone, Copy)]
struct Restarts {
    /// Segments between two restarts.
    every: u64,
    /// A gap has between half and one and a half times as many.
    gap_frames: u64,
}

impl Plan {
    pub fn new(flows: usize, segments: u64, seed: u64) -> Self {
        let (mut planned, weights) = groups(flows, seed);
        let edits = planned.iter().any(|flow| flow.role == Role::Edit);
        // The odd one is captured: where there is an edit there is something to edit.
        let edited = if edits { segments / 2 } else { 0 };
        share_out(segments - edited, &mut planned, &weights, |role| matches!(role, Role::Live | Role::Archive));
        share_out(edited, &mut planned, &weights, |role| role == Role::Edit);

        let mut captured = vec![Vec::new(); Encoding::COUNT];
        for flow in planned.iter().filter(|flow| flow.role != Role::Edit && flow.segments > 0) {
            captured[flow.encoding as usize].push(flow.number);
        }
        choose_encodings_of_edits(&mut planned, seed);
        let is_live = |flow: &&PlannedFlow| flow.role == Role::Live && flow.segments > 0;
        let mut live: Vec<usize> = planned.iter().filter(is_live).map(|flow| flow.number).collect();
        live.sort_by_key(|number| std::cmp::Reverse(planned[*number].segments));
        Self { seed, segments, flows: planned, captured, live }
    }

    pub fn flows(&self) -> &[PlannedFlow] {
        &self.flows
    }

    /// Live Flows that have segments, the longest first.
    pub fn live(&self) -> impl Iterator<Item = &PlannedFlow> {
        self.live.iter().map(|number| &self.flows[*number])
    }

    pub fn with_role(&self, role: Role) -> impl Iterator<Item = &PlannedFlow> {
        self.flows.iter().filter(move |flow| flow.role == role)
    }

    pub fn captured_segments(&self) -> u64 {
        self.flows.iter().filter(|flow| flow.role != Role::Edit).map(|flow| flow.segments).sum()
    }

    /// How many Sources the Flows have.
    pub fn sources(&self) -> usize {
        let mut sources: Vec<(u64, ContentFormat)> =
            self.flows.iter().map(|flow| (flow.group, flow.encoding.cut().format)).collect();
        sources.sort_unstable();
        sources.dedup();
        sources.len()
    }

    /// Media and init objects.
    pub fn objects(&self) -> u64 {
        self.captured_segments() + self.flows.iter().map(|flow| self.init_objects(flow).count() as u64).sum::<u64>()
    }

    pub fn flow_id(&self, number: usize) -> FlowId {
        flow_id(self.seed, number)
    }

    /// Flows of the same group and format encode the same content.
    pub fn source_id(&self, flow: &PlannedFlow) -> SourceId {
        SourceId::from_random(id_bytes(self.seed, What::SourceId, flow.group, flow.encoding.cut().format as u64))
    }

    /// Those that a collection collects: the Flows of its group before it.
    pub fn members(&self, collection: &PlannedFlow) -> &[PlannedFlow] {
        let before = &self.flows[..collection.number];
        let others = before.iter().rev().take_while(|flow| flow.group == collection.group).count();
        &before[before.len() - others..]
    }

    /// The init objects that a captured Flow's media objects name: one a start of the encoder.
    pub fn init_objects(&self, flow: &PlannedFlow) -> impl Iterator<Item = ObjectId> + use<> {
        let needs = flow.role != Role::Edit && flow.encoding.cut().has_init && flow.segments > 0;
        let captured = self.captured(flow.number);
        let last = captured.restart(flow.segments.saturating_sub(1));
        (0..=last).filter(move |_| needs).map(move |restart| captured.init_object(restart))
    }

    pub fn captured(&self, number: usize) -> Captured {
        let (seed, flow) = (self.seed, &self.flows[number]);
        let cut = flow.encoding.cut();
        // All Flows of a group share their start and their restarts.
        let mut dice = Dice::new(seed, What::Group, flow.group);
        let _weight_and_kind = (dice.roll(), dice.roll(), dice.roll());
        let start = LIVE_FROM + dice.below(LIVE_WITHIN);
        let (restarting, every, gap) = (dice.one_in(3), 100 + dice.below(2_000), 5 + dice.below(600));
        let elsewhere = dice.one_in(6);
        let buckets = if elsewhere && !cut.has_init { 1 + u8::from(dice.one_in(2)) } else { 0 };
        let frames_in = |seconds: u64| seconds * u64::from(cut.frame.1) / u64::from(cut.frame.0);
        let is_live = flow.role == Role::Live;
        let mut dice = Dice::new(seed, What::Flow, number as u64);
        Captured {
            number,
            id: flow_id(seed, number),
            encoding: flow.encoding,
            segments: flow.segments,
            first_frame: if is_live { frames_in(start) } else { 0 },
            restarts: (is_live && restarting).then(|| Restarts { every, gap_frames: frames_in(gap) }),
            objects_start_at_zero: dice.one_in(2),
            buckets,
            key_frames: (cut.format == ContentFormat::Video && dice.one_in(2)).then_some(2),
            has_sample_counts: dice.one_in(50),
            has_short_end: !is_live && dice.one_in(4),
            seed,
        }
    }

    /// A few captured Flows that can be cut into an edit; none only if the edit has no segments.
    pub fn material(&self, edit: &PlannedFlow, dice: &mut Dice) -> Vec<Captured> {
        let from = &self.captured[edit.encoding as usize];
        // Of two the longer: what is long is used more.
        let longer = |dice: &mut Dice| {
            let (one, other) = (dice.pick(from)?, dice.pick(from)?);
            Some(if self.flows[one].segments < self.flows[other].segments { other } else { one })
        };
        (0..1 + dice.below(4)).filter_map(|_| longer(dice)).map(|number| self.captured(number)).collect()
    }
}

impl Captured {
    pub fn object(&self, segment: u64) -> ObjectId {
        object_id(self.seed, What::ObjectId, self.number as u64, segment)
    }

    pub fn init_object(&self, restart: u64) -> ObjectId {
        object_id(self.seed, What::InitObjectId, self.number as u64, restart)
    }

    /// Bytes of a segment's Object: what the bit rate makes of its duration, give or take a quarter where the encoder
    /// compresses.
    pub fn object_size(&self, segment: u64) -> i64 {
        let cut = self.encoding.cut();
        let nanoseconds = self.time(segment, u64::from(cut.frames_a_segment)) - self.time(segment, 0);
        let mean = i128::from(cut.bit_rate) * 1_000 / 8 * nanoseconds / 1_000_000_000;
        let mut dice = Dice::new(self.seed ^ segment, What::Size, self.number as u64);
        let percent = if self.encoding == Pcm { 100 } else { 75 + dice.below(51) };
        i64::try_from(mean * i128::from(percent) / 100).unwrap_or(i64::MAX)
    }

    pub fn init_object_size(&self, restart: u64) -> i64 {
        let bytes = 700 + Dice::new(self.seed ^ restart, What::InitSize, self.number as u64).below(600);
        i64::try_from(bytes).unwrap_or(i64::MAX)
    }

    /// How many times the encoder had been started again before this segment.
    pub fn restart(&self, segment: u64) -> u64 {
        self.restarts.map_or(0, |restarts| segment / restarts.every)
    }

    /// Nanoseconds on the Flow's timeline at which a frame of a segment starts. Frames lie where they would if one had
    /// followed the other since the Flow's zero.
    pub fn time(&self, segment: u64, frame: u64) -> i128 {
        let cut = self.encoding.cut();
        let missed = self.restarts.map_or(0, |restarts| {
            let restart = segment / restarts.every;
            let jitter =
                Dice::new(self.seed ^ restart, What::Jitter, self.number as u64).below(restarts.gap_frames / 2);
            restart * restarts.gap_frames + jitter
        });
        let place = self.first_frame + segment * u64::from(cut.frames_a_segment) + missed + frame;
        i128::from(place) * i128::from(cut.frame.0) * 1_000_000_000 / i128::from(cut.frame.1)
    }

    /// Flow time minus Object time, in nanoseconds.
    pub fn ts_offset(&self, segment: u64) -> i128 {
        if self.objects_start_at_zero { self.time(segment, 0) } else { 0 }
    }
}

fn flow_id(seed: u64, number: usize) -> FlowId {
    FlowId::from_random(id_bytes(seed, What::FlowId, 0, number as u64))
}

/// The Flows, without segments yet, and the weight of each.
fn groups(flows: usize, seed: u64) -> (Vec<PlannedFlow>, Vec<u64>) {
    let (mut planned, mut weights) = (Vec::with_capacity(flows), Vec::with_capacity(flows));
    for group in 0.. {
        let mut dice = Dice::new(seed, What::Group, group);
        let (kind, lengths) = (dice.below(100), [dice.roll(), dice.roll()].map(|roll| roll >> 32));
        // Small catalogues have something to edit and an edit of it, too.
        let (role, encodings) = match (group, kind) {
            (0, _) => (Role::Live, LIVE[0]),
            (1, _) => (Role::Edit, &[Avc1080p50, Aac][..]),
            (_, kind) if kind < LIVE_SHARE => (Role::Live, LIVE[template(kind, LIVE)]),
            (_, kind) if kind < LIVE_SHARE + ARCHIVE_SHARE => (Role::Archive, ARCHIVE[template(kind, ARCHIVE)]),
            _ => (Role::Edit, &[Avc1080p50, Aac][..]),
        };
        let longer = match role {
            Role::Live => 2 * pareto(lengths[0]),
            Role::Edit => pareto(lengths[0].max(lengths[1])),
            _ => pareto(lengths[0]),
        };
        for encoding in encodings {
            if planned.len() == flows {
                return (planned, weights);
            }
            let cut = encoding.cut();
            let collects = *encoding == Programme;
            let role = if collects { Role::Collection } else { role };
            // Flows of a group are about as long as each other, not as many segments.
            let milliseconds =
                u64::from(cut.frames_a_segment) * u64::from(cut.frame.0) * 1_000 / u64::from(cut.frame.1);
            weights.push(if collects { 0 } else { longer * 2_000 / milliseconds });
            planned.push(PlannedFlow { number: planned.len(), group, role, encoding: *encoding, segments: 0 });
        }
    }
    (planned, weights)
}

/// A number below 100 also says which of the templates it is.
fn template(kind: u64, templates: &[&[Encoding]]) -> usize {
    usize::try_from(kind).unwrap_or(0) % templates.len()
}

/// From 32 random bits: at least 64, twice as much half as often, at most `64 * LONGEST`.
fn pareto(random: u64) -> u64 {
    (64 << 32) / (random + (1 << 32) / LONGEST)
}

/// Gives each Flow of a role its part of the segments, by weight; together they have exactly as many.
fn share_out(segments: u64, flows: &mut [PlannedFlow], weights: &[u64], takes: impl Fn(Role) -> bool) {
    let all: u128 = flows.iter().zip(weights).filter(|(flow, _)| takes(flow.role)).map(|(_, w)| u128::from(*w)).sum();
    if all == 0 {
        return;
    }
    let (mut so_far, mut given) = (0, 0);
    for (flow, weight) in flows.iter_mut().zip(weights).filter(|(flow, _)| takes(flow.role)) {
        so_far += u128::from(*weight);
        // At most `segments`, for `so_far` is at most `all`.
        let up_to_here = u64::try_from(u128::from(segments) * so_far / all).unwrap_or(segments);
        flow.segments = up_to_here - given;
        given = up_to_here;
    }
}

/// An edit has the encoding of what it is made of: video first, then sound, where there is such.
fn choose_encodings_of_edits(flows: &mut [PlannedFlow], seed: u64) {
    let made = flows.iter().filter(|flow| flow.role != Role::Edit && flow.segments > 0).map(|flow| flow.encoding);
    let any: Vec<Encoding> = made.collect();
    let having = |format: ContentFormat| -> Vec<Encoding> {
        any.iter().copied().filter(|encoding| encoding.cut().format == format).collect()
    };
    let (video, audio) = (having(ContentFormat::Video), having(ContentFormat::Audio));
    for flow in flows.iter_mut().filter(|flow| flow.role == Role::Edit) {
        let mut dice = Dice::new(seed, What::Edit, flow.number as u64);
        let wanted = if flow.encoding == Aac { &audio } else { &video };
        if let Some(encoding) = dice.pick(wanted).or_else(|| dice.pick(&any)) {
            flow.encoding = encoding;
        }
    }
}
