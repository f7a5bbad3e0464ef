//! Level 4: what must hold between rows. All of them are read, in the order of the files, and what has to be looked up is
//! kept in memory a share at a time.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::{Findings, RESTORE_CATALOGUE};
use crate::catalog::MaintenanceError;
use crate::catalog::change::{ReferenceKey, object_hash};
use crate::catalog::cold::ColdTable;
use crate::catalog::log::Log;
use crate::catalog::progress::Progress;
use crate::catalog::state::{State, references_of};
use crate::catalog::stored::{StoredObjects, StoredReferences, StoredSegments};
use crate::domain::{FlowId, FlowSegment, MediaObject, ObjectId, ObjectKind, TimeRange};

/// Objects that are known at a time, in about 64 bytes each; segments are read once for each share.
const SHARE: u64 = 4_000_000;
const BUCKETS: usize = 4_096;
/// Buckets of references that are looked at row by row.
const MOST_BUCKETS: usize = 16;

const SEGMENTS: &str = "tables/flow_segments";
const OBJECTS: &str = "tables/objects";
const REFERENCES: &str = "tables/object_references";

pub async fn check(log: &Log, state: &State, findings: &mut Findings, progress: &dyn Progress) {
    if let Err(error) = try_check(log, state, findings, progress).await {
        // The file itself was named by the level before.
        let what = format!("rows could not all be looked at: {error}");
        findings.problem(4, "tables", what, "See to the files that are named first, then look again");
    }
}

async fn try_check(
    log: &Log,
    state: &State,
    findings: &mut Findings,
    progress: &dyn Progress,
) -> Result<(), MaintenanceError> {
    let rows = |table| state.files_of(table).map(|file| file.meta.rows).sum::<u64>();
    let objects = rows(ColdTable::Objects) + state.objects.len() as u64;
    let segments = rows(ColdTable::FlowSegments) + state.segments.len() as u64;
    let shares = objects.div_ceil(SHARE).max(1);
    progress.begin("rows", (objects + segments) * shares + rows(ColdTable::References));
    let mut sums = Sums::new();
    for share in 0..shares {
        check_share(log, state, (share, shares), &mut sums, findings, progress).await?;
    }
    check_references(log, state, &sums, findings, progress).await
}

/// What segments have to know of an Object.
struct Fact {
    kind: Option<ObjectKind>,
    condemned: bool,
    init: Option<i64>,
    used: bool,
}

/// Holds segments against one share of the Objects; in the first one also against each other.
async fn check_share(
    log: &Log,
    state: &State,
    (share, shares): (u64, u64),
    sums: &mut Sums,
    findings: &mut Findings,
    progress: &dyn Progress,
) -> Result<(), MaintenanceError> {
    let is_in = |hash: i64| hash.cast_unsigned() % shares == share;
    let mut facts: HashMap<i64, Fact> = HashMap::new();
    let mut objects = StoredObjects::open(log, state).await?;
    while let Some(object) = objects.next().await? {
        progress.advance(1);
        let hash = object_hash(&object.id);
        if is_in(hash) {
            findings.report.objects += 1;
            if facts.insert(hash, fact_of(state, &object)).is_some() {
                findings.problem(4, OBJECTS, format!("Object {} is there twice", object.id), RESTORE_CATALOGUE);
            }
        }
    }
    let mut timeline = Timeline::default();
    let mut segments = StoredSegments::open(log, state).await?;
    while let Some(segment) = segments.next().await? {
        progress.advance(1);
        let (row, is_cold) = (&*segment.row, segment.is_cold);
        if share == 0 {
            findings.report.segments += 1;
            timeline.push(state, row, is_cold, findings);
            references_of(row).for_each(|key| sums.add(&key));
        }
        let media = object_hash(&row.object_id);
        let init = row.init_object.as_ref().map(object_hash);
        if is_in(media) {
            check_use(facts.get_mut(&media), row, &row.object_id, ObjectKind::Media, findings);
            if facts.get(&media).is_some_and(|fact| fact.init != init) {
                let what = format!("{} names another init object than its Object does", name(row));
                findings.problem(4, SEGMENTS, what, RESTORE_CATALOGUE);
            }
        }
        if let (Some(hash), Some(id)) = (init, &row.init_object)
            && is_in(hash)
        {
            check_use(facts.get_mut(&hash), row, id, ObjectKind::Init, findings);
        }
    }
    if share == 0 {
        timeline.finish(state, findings);
    }
    facts.retain(|_, fact| fact.kind.is_some() && !fact.condemned && !fact.used);
    check_unused(log, state, &facts, findings).await
}

fn fact_of(state: &State, object: &MediaObject) -> Fact {
    Fact {
        kind: object.kind,
        condemned: object.condemned || state.is_condemned(&object.id),
        init: object.init_object.as_ref().map(object_hash),
        used: false,
    }
}

fn name(segment: &FlowSegment) -> String {
    format!("segment {} of Flow {}", segment.timerange, segment.flow_id)
}

fn check_use(fact: Option<&mut Fact>, segment: &FlowSegment, id: &ObjectId, kind: ObjectKind, findings: &mut Findings) {
    let wrong = match fact {
        None => "is not there",
        Some(fact) => {
            fact.used = true;
            match fact {
                Fact { condemned: true, .. } => "is condemned: its bytes go, or have gone",
                Fact { kind: Some(is), .. } if *is == kind => return,
                Fact { kind: None, .. } => "is not registered",
                Fact { .. } => "is of the other kind (media or init)",
            }
        }
    };
    findings.problem(4, SEGMENTS, format!("{} needs Object {id}, which {wrong}", name(segment)), RESTORE_CATALOGUE);
}

/// Registered Objects that no segment needs must be about to be found out.
async fn check_unused(
    log: &Log,
    state: &State,
    unused: &HashMap<i64, Fact>,
    findings: &mut Findings,
) -> Result<(), MaintenanceError> {
    if unused.is_empty() {
        return Ok(());
    }
    let mut objects = StoredObjects::open(log, state).await?;
    while let Some(object) = objects.next().await? {
        if unused.contains_key(&object_hash(&object.id)) && !state.is_suspect(&object.id) {
            let what = format!("no segment needs Object {}, and nobody is about to find that out", object.id);
            findings.problem(4, OBJECTS, what, "Nothing is served wrong, but its bytes stay. Please report it");
        }
    }
    Ok(())
}

/// Segments in the order of their keys: of each Flow, what lies behind and what cold files have of it.
#[derive(Default)]
struct Timeline {
    flow: Option<FlowId>,
    last: Option<TimeRange>,
    cold: Option<TimeRange>,
    seen: HashSet<FlowId>,
}

impl Timeline {
    fn push(&mut self, state: &State, segment: &FlowSegment, is_cold: bool, findings: &mut Findings) {
        if self.flow != Some(segment.flow_id) {
            self.leave(state, findings);
            (self.flow, self.last, self.cold) = (Some(segment.flow_id), None, None);
            if state.flow(segment.flow_id).is_none() && !state.is_being_deleted(segment.flow_id) {
                let what = format!("{} has no Flow", name(segment));
                findings.problem(4, SEGMENTS, what, RESTORE_CATALOGUE);
            }
        }
        if let Some(last) = self.last.filter(|last| last.overlaps(&segment.timerange)) {
            let what = format!("{} overlaps the one at {last}", name(segment));
            findings.problem(4, SEGMENTS, what, RESTORE_CATALOGUE);
        }
        self.last = Some(segment.timerange);
        if is_cold {
            self.cold = Some(self.cold.map_or(segment.timerange, |cold| cold.hull(&segment.timerange)));
        }
    }

    fn leave(&mut self, state: &State, findings: &mut Findings) {
        let Some(flow_id) = self.flow else { return };
        self.seen.insert(flow_id);
        check_extent(state, flow_id, self.cold.unwrap_or(TimeRange::NEVER), findings);
    }

    fn finish(&mut self, state: &State, findings: &mut Findings) {
        self.leave(state, findings);
        for flow_id in state.cold_extents.keys().filter(|id| !self.seen.contains(*id)) {
            check_extent(state, *flow_id, TimeRange::NEVER, findings);
        }
    }
}

fn check_extent(state: &State, flow_id: FlowId, is: TimeRange, findings: &mut Findings) {
    let says = state.cold_extent(flow_id);
    if says != is {
        let what = format!("cold segments of Flow {flow_id} reach over {is}, but the state says {says}");
        findings.problem(4, SEGMENTS, what, RESTORE_CATALOGUE);
    }
}

/// Sums over references that do not depend on their order, by the Object's hash.
struct Sums(Vec<(u64, u64)>);

impl Sums {
    fn new() -> Self {
        Self(vec![(0, 0); BUCKETS])
    }

    fn bucket(key: &ReferenceKey) -> usize {
        usize::try_from(key.object_hash.cast_unsigned() >> 52).unwrap_or(0)
    }

    fn add(&mut self, key: &ReferenceKey) {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        if let Some((count, sum)) = self.0.get_mut(Self::bucket(key)) {
            (*count, *sum) = (*count + 1, sum.wrapping_add(hasher.finish()));
        }
    }
}

/// Each segment has its references, and each reference its segment.
async fn check_references(
    log: &Log,
    state: &State,
    of_segments: &Sums,
    findings: &mut Findings,
    progress: &dyn Progress,
) -> Result<(), MaintenanceError> {
    let mut sums = Sums::new();
    let mut references = StoredReferences::open(log, state).await?;
    while let Some(key) = references.next().await? {
        progress.advance(1);
        sums.add(&key);
    }
    let unlike = (0..BUCKETS).filter(|at| sums.0.get(*at) != of_segments.0.get(*at));
    let unlike: HashSet<usize> = unlike.take(MOST_BUCKETS).collect();
    if unlike.is_empty() {
        return Ok(());
    }
    // How often each is there, counted down by the other side.
    let mut counts: HashMap<ReferenceKey, i64> = HashMap::new();
    let mut references = StoredReferences::open(log, state).await?;
    while let Some(key) = references.next().await? {
        if unlike.contains(&Sums::bucket(&key)) {
            *counts.entry(key).or_default() += 1;
        }
    }
    let mut segments = StoredSegments::open(log, state).await?;
    while let Some(segment) = segments.next().await? {
        for key in references_of(&segment.row).filter(|key| unlike.contains(&Sums::bucket(key))) {
            *counts.entry(key).or_default() -= 1;
        }
    }
    for (key, count) in counts.into_iter().filter(|(_, count)| *count != 0) {
        let at = TimeRange::from_keys(key.segment.start, key.segment.start.saturating_add(1));
        let (place, hash) = (format!("{at} of Flow {}", key.segment.flow_id), key.object_hash);
        let what = if count < 0 {
            format!("the segment that starts at {place} lacks its reference to the Object with hash {hash}")
        } else {
            format!("there is a reference to the Object with hash {hash} at {place}, but no such segment")
        };
        findings.problem(4, REFERENCES, what, RESTORE_CATALOGUE);
    }
    Ok(())
}
