//! Several writers on one store, each with clients and maintenance, under a seeded scheduler, a virtual clock and a store
//! that fails in every way; what is left is compared with what each client was told, and with the whole log.

mod world;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::{Int32Type, Int64Type};

use super::helpers::{
    assert_same, flow_id, keep, media, object_id, put, put_flow, put_object, put_source, second, segment, settings,
    start_of_time, with_small_files,
};
use crate::catalog::fsck::{Scope, fsck};
use crate::catalog::log::{FORGETS_OWN_ENTRIES, Log};
use crate::catalog::pages::PageCache;
use crate::catalog::progress::Silent;
use crate::catalog::publish::read_back;
use crate::catalog::publishing::Tables;
use crate::catalog::recovery;
use crate::catalog::stored::StoredSegments;
use crate::catalog::{
    Catalog, Change, CommitError, Draft, MaintenanceError, ReadError, SegmentKey, SegmentScan, State, View, checkpoint,
    compact, flush, paths,
};
use crate::domain::{FlowSegment, MediaObject, ObjectId, ObjectPlace, TimeRange, Timestamp};
use world::{Counts, Faulty, World};

const WRITERS: u64 = 3;
const CLIENTS_OF_WRITER: u64 = 3;
const OPERATIONS_OF_CLIENT: u64 = 20;
const FLOWS: u64 = 2;
const SECONDS: u64 = 8;
const OBJECTS: u64 = 10;
const CHORES_OF_WRITER: u64 = 24;
/// More than a writer may trust what it knew of the log's end, less than a stall.
const RETENTION: Duration = Duration::from_secs(150);
const BLOCK: u64 = 8;
const STARTS: u32 = 60;

/// What is left out, to see that it is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    Nothing,
    NoFloorMarks,
    ExistsIsLost,
    FlushedTwice,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Effect {
    /// Each with a number of its own.
    Registered(SegmentKey, i128),
    /// From here to there, whatever it was.
    Deleted(SegmentKey, i128),
}

impl Effect {
    fn range(&self) -> (SegmentKey, SegmentKey) {
        match self {
            Self::Registered(key, _) => (*key, SegmentKey { start: key.start + 1, ..*key }),
            Self::Deleted(from, to) => (*from, SegmentKey { start: *to, ..*from }),
        }
    }

    fn of(change: &Change) -> Option<Self> {
        match change {
            Change::PutSegment(segment) => {
                Some(Self::Registered(SegmentKey::of(segment), segment.ts_offset.nanoseconds()))
            }
            Change::DeleteSegmentsWithin { flow_id, timerange } => {
                let from = SegmentKey { flow_id: *flow_id, start: timerange.start_key() };
                Some(Self::Deleted(from, timerange.end_key()))
            }
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Taken,
    NothingThere,
    Condemned,
    /// Never right: Flows are there from the first entry on.
    NoFlow,
}

#[derive(Debug, Clone, Copy)]
enum Outcome {
    /// Durable in this entry.
    Acknowledged(u64),
    /// Decided against on the state of this entry, or on that with a part of the next.
    Refused(u64, Refusal),
    NotWritten,
    Unknown,
}

#[derive(Debug)]
struct Told {
    effect: Effect,
    /// The newest entry that any client had an answer from when this was asked for.
    known_before: u64,
    outcome: Outcome,
}

enum Answer {
    Refused(u64, Refusal),
    Failed(MaintenanceError),
}

impl From<ReadError> for Answer {
    fn from(error: ReadError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<CommitError> for Answer {
    fn from(error: CommitError) -> Self {
        Self::Failed(error.into())
    }
}

#[derive(Clone)]
struct Process {
    number: u64,
    catalog: Catalog,
    log: Log,
    committer: usize,
    /// Away while they are published.
    tables: Rc<Cell<Option<Tables>>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    counts: Counts,
    acknowledged: u64,
    refused: u64,
    not_written: u64,
    unknown: u64,
    starts: u64,
    failed_starts: u64,
    chores: u64,
    failed_chores: u64,
    flushed: u64,
    truncated: u64,
    condemned: u64,
    published: u64,
    versions: u64,
}

impl Sum {
    fn add(&mut self, other: Self) {
        macro_rules! add {
            ($($($field:ident).+),*) => {$(self.$($field).+ += other.$($field).+;)*};
        }
        add!(counts.operations, counts.lost_responses, counts.late_landings, counts.empty_conflicts, counts.stalls);
        add!(counts.strays, acknowledged, refused, not_written, unknown, starts, failed_starts, chores);
        add!(counts.delta_commits, counts.lost_delta_commits);
        add!(failed_chores, flushed, truncated, condemned, published, versions);
    }
}

struct Simulation {
    world: Arc<World>,
    writers: Vec<RefCell<Process>>,
    processes: Cell<u64>,
    told: RefCell<Vec<Told>>,
    newest_answer: Cell<u64>,
    numbers: Cell<i128>,
    at_work: Cell<u64>,
    sum: Cell<Sum>,
}

impl Simulation {
    fn count(&self, count: impl FnOnce(&mut Sum)) {
        let mut sum = self.sum.get();
        count(&mut sum);
        self.sum.set(sum);
    }

    async fn client(self: Rc<Self>, place: usize) {
        for _ in 0..OPERATIONS_OF_CLIENT {
            let flow = u8::try_from(self.world.roll(1..FLOWS + 1)).unwrap();
            let at = i32::try_from(self.world.roll(0..SECONDS)).unwrap();
            if self.world.roll(0..3) == 0 {
                let end = at + i32::try_from(self.world.roll(1..4)).unwrap();
                let timerange = TimeRange::half_open(Timestamp::from_seconds(at), Timestamp::from_seconds(end));
                let from = SegmentKey { flow_id: flow_id(flow), start: timerange.start_key() };
                let effect = Effect::Deleted(from, timerange.end_key());
                self.commit(place, effect, move |view| delete(view, flow, timerange)).await;
            } else {
                self.numbers.set(self.numbers.get() + 1);
                let number = self.numbers.get();
                let object = format!("object-{}", self.world.roll(0..OBJECTS));
                let key = SegmentKey { flow_id: flow_id(flow), start: second(at).start_key() };
                self.commit(place, Effect::Registered(key, number), move |view| {
                    register(view, flow, at, &object, number)
                })
                .await;
            }
            if self.world.roll(0..3) == 0 {
                self.world.sleep(Duration::from_secs(self.world.roll(1..100))).await;
            }
        }
        self.at_work.set(self.at_work.get() - 1);
    }

    async fn commit(
        &self,
        place: usize,
        effect: Effect,
        decide: impl Fn(View<'_>) -> Result<Result<Vec<Change>, Refusal>, ReadError> + Send + 'static,
    ) {
        let process = self.writers[place].borrow().clone();
        let known_before = self.newest_answer.get();
        let decided = process.catalog.commit(64, move |view, _| match decide(view)? {
            Ok(changes) => Ok((changes, view.seq() + 1)),
            Err(refusal) => Err(Answer::Refused(view.seq(), refusal)),
        });
        let outcome = match decided.await {
            Ok(seq) => {
                self.newest_answer.set(self.newest_answer.get().max(seq));
                Outcome::Acknowledged(seq)
            }
            Err(Answer::Refused(seq, refusal)) => Outcome::Refused(seq, refusal),
            Err(Answer::Failed(MaintenanceError::Commit(CommitError::Halted { .. } | CommitError::Closed))) => {
                Outcome::Unknown
            }
            Err(Answer::Failed(error)) => {
                self.judge(&error);
                Outcome::NotWritten
            }
        };
        self.told.borrow_mut().push(Told { effect, known_before, outcome });
        if matches!(outcome, Outcome::Unknown) {
            self.restart(place, process.number).await;
        }
    }

    /// Errors that no bad store explains.
    fn judge(&self, error: &MaintenanceError) {
        match error {
            MaintenanceError::Commit(CommitError::Bug { .. })
            | MaintenanceError::Read(ReadError::Damaged { .. })
            | MaintenanceError::File(_) => self.world.fail(format!("{error:?}")),
            _ => {}
        }
    }

    async fn restart(&self, place: usize, number: u64) {
        if self.processes.get() == u64::MAX || self.writers[place].borrow().number != number {
            return;
        }
        // Others that come meanwhile use the old one, and are told so.
        let process = self.start().await;
        if let Some(process) = process
            && self.writers[place].borrow().number == number
        {
            *self.writers[place].borrow_mut() = process;
        }
    }

    async fn start(&self) -> Option<Process> {
        let mut last = String::new();
        for _ in 0..STARTS {
            match start(&self.world, &self.processes).await {
                Ok(process) => {
                    self.count(|sum| sum.starts += 1);
                    return Some(process);
                }
                Err(error) => last = error,
            }
            self.count(|sum| sum.failed_starts += 1);
        }
        self.world.fail(format!("it does not start: {last}"));
        None
    }

    async fn maintain(self: Rc<Self>, place: usize) {
        for _ in 0..CHORES_OF_WRITER {
            let process = self.writers[place].borrow().clone();
            match self.chore(&process).await {
                Ok(()) => self.count(|sum| sum.chores += 1),
                Err(MaintenanceError::Commit(CommitError::Halted { .. } | CommitError::Closed)) => {
                    self.count(|sum| sum.failed_chores += 1);
                    self.restart(place, process.number).await;
                }
                Err(error) => {
                    self.count(|sum| sum.failed_chores += 1);
                    self.judge(&error);
                }
            }
            self.world.sleep(Duration::from_secs(self.world.roll(1..60))).await;
        }
        self.at_work.set(self.at_work.get() - 1);
    }

    async fn chore(&self, process: &Process) -> Result<(), MaintenanceError> {
        let Process { catalog, log, .. } = process;
        match self.world.roll(0..12) {
            0..3 => {
                let before = catalog.snapshot().flushed();
                flush::flush(log, catalog).await?;
                let flushed = catalog.snapshot().flushed() > before;
                self.count(|sum| sum.flushed += u64::from(flushed));
            }
            3 => compact::compact(log, catalog, 2).await?,
            4..7 => {
                let state = catalog.snapshot();
                checkpoint::write(log, &state).await?;
                let truncated = checkpoint::truncate(log, state.seq, keep(RETENTION)).await?;
                self.count(|sum| sum.truncated += truncated.entries);
                compact::delete_retired(log, catalog, RETENTION).await?;
            }
            7 => {
                compact::delete_retired(log, catalog, RETENTION).await?;
                compact::delete_orphans(log, catalog).await?;
            }
            8..10 => self.collect(catalog).await?,
            _ => self.publish(process).await?,
        }
        Ok(())
    }

    async fn publish(&self, Process { catalog, log, tables, .. }: &Process) -> Result<(), MaintenanceError> {
        let Some(at_rest) = flush::flush(log, catalog).await? else { return Ok(()) };
        let Some(mut taken) = tables.take() else { return Ok(()) };
        let published = self.world.with_threads(taken.publish(&at_rest)).await;
        tables.set(Some(taken));
        published?;
        self.count(|sum| sum.published += 1);
        Ok(())
    }

    /// As `collect_objects` does it.
    async fn collect(&self, catalog: &Catalog) -> Result<(), MaintenanceError> {
        let state = catalog.read().await?;
        let mut judged: Vec<(ObjectId, bool)> = Vec::new();
        for id in state.suspects().cloned().collect::<Vec<_>>() {
            let referenced = catalog.ask_of(&state, |view| Ok::<_, MaintenanceError>(view.is_referenced(&id)?)).await?;
            judged.push((id, referenced));
        }
        let seen = state.seq();
        catalog.commit(64, move |view, _| Ok::<_, MaintenanceError>((view.verdicts(&judged, seen), ()))).await?;
        let state = catalog.read().await?;
        let mut gone: Vec<(ObjectId, ObjectPlace)> = Vec::new();
        for id in state.condemned().cloned().collect::<Vec<_>>() {
            let object = catalog.ask_of(&state, |view| Ok::<_, MaintenanceError>(view.object(&id)?)).await?;
            gone.extend(object.map(|object| (id, object.place())));
        }
        let count = gone.len() as u64;
        catalog
            .commit(64, move |view, _| {
                let still = gone.iter().filter(|(id, _)| view.is_condemned(id));
                let changes = still.map(|(id, place)| Change::DeleteObject(id.clone(), *place));
                Ok::<_, MaintenanceError>((changes.collect(), ()))
            })
            .await?;
        self.count(|sum| sum.condemned += count);
        Ok(())
    }

    /// Processes die, or are taken for dead while they go on.
    async fn kill(self: Rc<Self>) {
        while self.at_work.get() > 1 {
            self.world.sleep(Duration::from_secs(self.world.roll(100..1_500))).await;
            let place = usize::try_from(self.world.roll(0..WRITERS)).unwrap();
            let process = self.writers[place].borrow().clone();
            if self.world.roll(0..2) == 0 {
                self.world.kill(process.committer);
            }
            self.restart(place, process.number).await;
        }
        self.at_work.set(self.at_work.get() - 1);
    }

    async fn everybody(self: Rc<Self>) {
        while self.at_work.get() > 0 {
            self.world.sleep(Duration::from_secs(10)).await;
        }
    }

    /// What is left, against the whole log and what clients were told.
    async fn check(self: Rc<Self>) -> Result<(), String> {
        self.world.arm(false);
        self.world.land_late(u64::MAX).await;
        let chain = self.world.chain();
        let process = start(&self.world, &self.processes).await.map_err(|error| format!("the last start: {error}"))?;
        let state = process.catalog.snapshot();
        let last = chain.values().last().ok_or("no log")?;
        ensure((state.seq, state.hash) == (last.header.seq, last.hash), || {
            format!("the last start is at {} of {}, or somewhere else", state.seq, last.header.seq)
        })?;
        let mut replayed = State::empty();
        for entry in chain.values() {
            recovery::replay(&process.log, &mut replayed, entry).map_err(|error| error.to_string())?;
        }
        assert_same(&state, &replayed, "from what is left, and from the whole log");
        let states = occupied(chain.values().map(|entry| (entry.header.seq, &entry.changes[..])))?;
        self.check_published(&process, &states).await?;
        self.check_rows(&process, states.values().last().and_then(|of_entry| of_entry.last()).ok_or("no rows")?)
            .await?;
        self.check_answers(&states, chain.values().map(|entry| (entry.header.seq, &entry.changes[..])))
    }

    async fn check_rows(&self, process: &Process, expected: &Rows) -> Result<(), String> {
        let state = process.catalog.snapshot();
        let failed = |error: MaintenanceError| format!("rows cannot be read: {error}");
        let mut rows = StoredSegments::open(&process.log, &state).await.map_err(failed)?;
        let mut found = Rows::new();
        while let Some(stored) = rows.next().await.map_err(failed)? {
            let row = stored.row;
            let before = found.insert(SegmentKey::of(&row), row.ts_offset.nanoseconds());
            ensure(before.is_none(), || format!("{row:?} is there twice"))?;
            let object = process.catalog.ask_of(&state, |view| view.object(&row.object_id)).await;
            let object = object.map_err(|error| error.to_string())?;
            ensure(object.is_some(), || format!("{row:?} has no Object"))?;
        }
        ensure(found == *expected, || format!("stored are {found:?}, not {expected:?}"))?;
        let scope = Scope { level: 4, media: None, always_media: false };
        let report = fsck(self.world.bare(), self.world.clock(), &scope, &Silent).await.map_err(|e| e.to_string())?;
        let wrong = report.findings.iter().find(|finding| finding.level == 4);
        ensure(wrong.is_none(), || format!("fsck: {wrong:?}"))?;
        let there = self.world.bare().list(paths::TABLES).await.map_err(|error| error.to_string())?;
        let missing = state.files.iter().find(|file| !there.contains(&file.meta.path));
        ensure(missing.is_none(), || format!("missing is {missing:?}"))
    }

    /// Each version of a published table shows the rows as they were after one log entry, a later one than the version before
    /// it; after one more publication, the newest shows those that are there now.
    async fn check_published(&self, process: &Process, states: &BTreeMap<u64, Vec<Rows>>) -> Result<(), String> {
        self.publish(process).await.map_err(|error| format!("the last publication: {error}"))?;
        let shown = self.world.with_threads(published_segments(&process.log)).await;
        let mut before = None;
        for (seq, rows) in &shown {
            ensure(before < Some(*seq), || format!("entry {seq} is shown again, after {before:?}"))?;
            before = Some(*seq);
            let Some(rows) = rows else { continue };
            let empty = Rows::new();
            let expected = states.get(seq).map_or(Some(&empty), |of_entry| of_entry.last());
            ensure(expected == Some(rows), || format!("of entry {seq}, {rows:?} are shown, and not {expected:?}"))?;
            self.count(|sum| sum.versions += 1);
        }
        let newest = shown.last().and_then(|(_, rows)| rows.as_ref());
        let now = states.values().last().and_then(|of_entry| of_entry.last());
        ensure(newest.is_some() && newest == now, || format!("shown is {newest:?}, there is {now:?}"))
    }

    fn check_answers<'a>(
        &self,
        states: &BTreeMap<u64, Vec<Rows>>,
        chain: impl Iterator<Item = (u64, &'a [Change])>,
    ) -> Result<(), String> {
        let mut unexplained: BTreeMap<(u64, Effect), u32> = BTreeMap::new();
        for (seq, changes) in chain {
            for effect in changes.iter().filter_map(Effect::of) {
                *unexplained.entry((seq, effect)).or_default() += 1;
            }
        }
        let mut uncertain: BTreeMap<Effect, u32> = BTreeMap::new();
        for told in self.told.borrow().iter() {
            match told.outcome {
                Outcome::Acknowledged(seq) => {
                    let count = unexplained.get_mut(&(seq, told.effect.clone())).filter(|count| **count > 0);
                    *count.ok_or_else(|| format!("{told:?} is not in the log"))? -= 1;
                }
                Outcome::Refused(seq, refusal) => {
                    ensure(seq >= told.known_before, || format!("{told:?} did not see what was told before"))?;
                    let (from, to) = told.effect.range();
                    let is_right = |rows: &Rows| match refusal {
                        Refusal::Taken => rows.range(from..to).next().is_some(),
                        Refusal::NothingThere => rows.range(from..to).next().is_none(),
                        Refusal::Condemned => true,
                        Refusal::NoFlow => false,
                    };
                    let seen = states.get(&seq).and_then(|of_entry| of_entry.last());
                    let or_then = states.get(&(seq + 1)).into_iter().flatten();
                    ensure(seen.into_iter().chain(or_then).any(is_right), || format!("{told:?} was wrong"))?;
                }
                Outcome::NotWritten => {}
                Outcome::Unknown => *uncertain.entry(told.effect.clone()).or_default() += 1,
            }
        }
        for ((seq, effect), count) in unexplained {
            let left = uncertain.entry(effect.clone()).or_default();
            ensure(*left >= count, || format!("{effect:?} in entry {seq} was asked for by nobody, or refused"))?;
            *left -= count;
        }
        Ok(())
    }
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

type Rows = BTreeMap<SegmentKey, i128>;

/// Of each entry: the rows before it, and after each of its changes.
fn occupied<'a>(chain: impl Iterator<Item = (u64, &'a [Change])>) -> Result<BTreeMap<u64, Vec<Rows>>, String> {
    let mut rows = Rows::new();
    let mut states = BTreeMap::new();
    for (seq, changes) in chain {
        let mut of_entry = vec![rows.clone()];
        for effect in changes.iter().filter_map(Effect::of) {
            let (from, to) = effect.range();
            let there: Vec<SegmentKey> = rows.range(from..to).map(|(key, _)| *key).collect();
            match effect {
                Effect::Registered(key, number) => {
                    ensure(there.is_empty(), || format!("entry {seq} registers what is taken"))?;
                    rows.insert(key, number);
                }
                Effect::Deleted(..) => {
                    ensure(!there.is_empty(), || format!("entry {seq} deletes nothing"))?;
                    there.iter().for_each(|key| {
                        rows.remove(key);
                    });
                }
            }
            of_entry.push(rows.clone());
        }
        states.insert(seq, of_entry);
    }
    Ok(states)
}

/// Of each version of the published table: the log entry that it shows, and the rows as long as all its files are there.
async fn published_segments(log: &Log) -> Vec<(u64, Option<Rows>)> {
    let table = log.store.delta_log("flow_segments").unwrap().unwrap();
    let mut shown = Vec::new();
    let newest = read_back::describe(&table).await.map_or(0, |(newest, _)| newest);
    for version in 0..=newest {
        let seq = read_back::seq(&table, version).await;
        let mut rows = read_back::rows_if_there(&table, Some(version)).await.map(|_| Rows::new());
        for batch in read_back::rows_if_there(&table, Some(version)).await.into_iter().flatten() {
            let (flows, starts) =
                (batch["flow_id"].as_string::<i32>(), batch["start_seconds"].as_primitive::<Int64Type>());
            let numbers = batch["ts_offset_nanoseconds"].as_primitive::<Int32Type>();
            for row in 0..batch.num_rows() {
                let start = second(i32::try_from(starts.value(row)).unwrap()).start_key();
                let key = SegmentKey { flow_id: flows.value(row).parse().unwrap(), start };
                rows.as_mut().unwrap().insert(key, i128::from(numbers.value(row)));
            }
        }
        shown.push((seq, rows));
    }
    shown
}

fn register(
    view: View<'_>,
    flow: u8,
    at: i32,
    object: &str,
    number: i128,
) -> Result<Result<Vec<Change>, Refusal>, ReadError> {
    let id = object_id(object);
    if view.flow(flow_id(flow)).is_none() {
        return Ok(Err(Refusal::NoFlow));
    }
    if view.overlapping_segment(flow_id(flow), second(at))?.is_some() {
        return Ok(Err(Refusal::Taken));
    }
    if view.is_condemned(&id) {
        return Ok(Err(Refusal::Condemned));
    }
    let known = view.object(&id)?;
    let new = known.is_none().then(|| media(object, flow));
    let row = known.as_deref().or(new.as_ref()).map(MediaObject::place);
    let ts_offset = Timestamp::from_nanoseconds(number).unwrap();
    let mut segment = FlowSegment { ts_offset, ..segment(flow, second(at), object) };
    segment.object_place = row.filter(|place| Some(*place) != segment.likely_place());
    let put = Change::PutSegment(Arc::new(segment));
    Ok(Ok(new.map(put_object).into_iter().chain([put]).collect()))
}

fn delete(view: View<'_>, flow: u8, timerange: TimeRange) -> Result<Result<Vec<Change>, Refusal>, ReadError> {
    let scan = SegmentScan { flow_id: flow_id(flow), timerange, reverse_order: false, after: None };
    let segments = view.scan_segments(&scan).collect::<Result<Vec<_>, _>>()?;
    if segments.is_empty() {
        return Ok(Err(Refusal::NothingThere));
    }
    let mut draft = Draft::new(view, start_of_time());
    draft.extend(vec![Change::DeleteSegmentsWithin { flow_id: flow_id(flow), timerange }]);
    let consequences = draft.view().after_deleting(flow_id(flow), &segments, view)?;
    draft.extend(consequences);
    Ok(Ok(draft.into_changes()))
}

async fn start(world: &Arc<World>, processes: &Cell<u64>) -> Result<Process, String> {
    let number = processes.get();
    processes.set(number + 1);
    let store = Arc::new(Faulty { world: world.clone(), process: number });
    let opened = Catalog::recover(store, world.clock(), settings()).await;
    let (catalog, mut committer, _) = opened.map_err(|error| error.to_string())?;
    committer.log.resolve_pause = Duration::ZERO;
    let log = committer.log.clone();
    let committer = world.spawn(committer.run());
    let tables = {
        // Not the catalogue's: a page that another task is about to load is nothing that `with_threads` can wait for.
        let cache = PageCache::new(log.store.clone(), 0, 0);
        Tables::open(&log, cache, &settings(), catalog.shared.needed.clone()).map_err(|error| error.to_string())?
    };
    Ok(Process { number, catalog, log, committer, tables: Rc::new(Cell::new(Some(tables))) })
}

async fn begin(world: Arc<World>) -> Result<Rc<Simulation>, String> {
    let processes = Cell::new(0);
    let mut writers = Vec::new();
    for _ in 0..WRITERS {
        writers.push(RefCell::new(start(&world, &processes).await?));
    }
    let catalog = writers[0].borrow().catalog.clone();
    put(&catalog, vec![put_source(1), put_flow(1, 1), put_flow(2, 1)]).await.map_err(|error| error.to_string())?;
    world.arm(true);
    let simulation = Rc::new(Simulation {
        world,
        writers,
        processes,
        told: RefCell::default(),
        newest_answer: Cell::new(1),
        numbers: Cell::new(0),
        at_work: Cell::new(WRITERS * (CLIENTS_OF_WRITER + 1) + 1),
        sum: Cell::default(),
    });
    for writer in 0..usize::try_from(WRITERS).unwrap() {
        simulation.world.spawn(simulation.clone().maintain(writer));
        for _ in 0..CLIENTS_OF_WRITER {
            simulation.world.spawn(simulation.clone().client(writer));
        }
    }
    simulation.world.spawn(simulation.clone().kill());
    Ok(simulation)
}

/// What came up, and the hash of everything that happened.
fn run(seed: u64, broken: Broken) -> Result<(Sum, u64), String> {
    struct Whole;
    impl Drop for Whole {
        fn drop(&mut self) {
            paths::SMALL_BLOCK.set(None);
            FORGETS_OWN_ENTRIES.set(false);
            flush::FLUSHES_TWICE.set(false);
        }
    }
    let _whole = Whole;
    paths::SMALL_BLOCK.set(Some(BLOCK));
    FORGETS_OWN_ENTRIES.set(broken == Broken::ExistsIsLost);
    flush::FLUSHES_TWICE.set(broken == Broken::FlushedTwice);
    with_small_files(|| {
        let world = World::new(seed, broken == Broken::NoFloorMarks);
        let main = world.clone();
        world.run(async move {
            let simulation = begin(main).await?;
            simulation.clone().everybody().await;
            let operations = simulation.world.counts();
            simulation.clone().check().await?;
            let mut sum = Sum { counts: operations, ..simulation.sum.get() };
            for told in simulation.told.borrow().iter() {
                match told.outcome {
                    Outcome::Acknowledged(_) => sum.acknowledged += 1,
                    Outcome::Refused(..) => sum.refused += 1,
                    Outcome::NotWritten => sum.not_written += 1,
                    Outcome::Unknown => sum.unknown += 1,
                }
            }
            Ok((sum, simulation.world.trace()))
        })?
    })
}

#[test]
fn whatever_the_store_and_the_clock_do_nothing_acknowledged_is_lost() {
    let mut sum = Sum::default();
    let mut failures = Vec::new();
    let seeds = std::env::var("SIMULATION_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(50);
    for seed in 0..seeds {
        match run(seed, Broken::Nothing) {
            Ok((of_seed, _)) => sum.add(of_seed),
            Err(reason) => failures.push(format!("seed {seed}: {reason}")),
        }
    }
    println!("{sum:#?}");
    assert!(failures.is_empty(), "{} of {seeds} seeds failed:\n{}", failures.len(), failures.join("\n"));
    // Everything came up, so everything was checked.
    assert!(sum.counts.operations >= 100_000, "{sum:#?}");
    let Counts { lost_responses, late_landings, empty_conflicts, stalls, strays, .. } = sum.counts;
    let faults = [lost_responses, late_landings, empty_conflicts, stalls, strays];
    assert!(faults.into_iter().all(|count| count > 20), "{sum:#?}");
    let answers = [sum.acknowledged, sum.refused, sum.not_written, sum.unknown];
    assert!(answers.into_iter().all(|count| count > 50), "{sum:#?}");
    assert!(sum.flushed > 100 && sum.truncated > 1_000 && sum.condemned > 100, "{sum:#?}");
    let Counts { delta_commits, lost_delta_commits, .. } = sum.counts;
    assert!(sum.published > 100 && sum.versions > 100 && lost_delta_commits > 50, "{sum:#?}");
    assert!(delta_commits > 1_000, "{sum:#?}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let (one, again, other) = (run(1, Broken::Nothing), run(1, Broken::Nothing), run(2, Broken::Nothing));
    let trace = |run: &Result<(Sum, u64), String>| run.as_ref().unwrap().1;
    assert_eq!(trace(&one), trace(&again));
    assert_ne!(trace(&one), trace(&other));
}

fn is_noticed(broken: Broken, seeds: u64) {
    let found = (0..seeds).find_map(|seed| Some((seed, run(seed, broken).err()?)));
    println!("{broken:?}: {found:?}");
    assert!(found.is_some(), "{broken:?} is not noticed in {seeds} seeds");
}

#[test]
fn a_truncation_without_floor_marks_is_noticed() {
    is_noticed(Broken::NoFloorMarks, 30);
}

#[test]
fn an_own_entry_taken_for_a_winners_is_noticed() {
    is_noticed(Broken::ExistsIsLost, 10);
}

#[test]
fn a_flush_that_does_not_look_for_others_is_noticed() {
    is_noticed(Broken::FlushedTwice, 30);
}
