//! Whatever happened to the catalogue: its own scan, DataFusion, DuckDB and a plain list show the same rows.

mod answers;
mod pruning;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use arrow::util::display::array_value_to_string;
use futures::TryStreamExt;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::datafusion::{Session, SessionSettings};
use super::{Duck, DuckSettings, Params, backends, duck_tables};
use crate::catalog::tests::helpers::{self, ByHand, start_of_time, with_small_files};
use crate::catalog::tests::older_version;
use crate::catalog::{
    Catalog, Change, ColdTable, CommitError, Draft, ReadError, ScanOrder, SegmentKey, SegmentScan, State, TableScan,
    View, object_hash,
};
use crate::clock::Clock;
use crate::domain::{
    Bound, DeleteRequest, DeleteRequestId, DeleteStatus, Flow, FlowId, FlowSegment, MediaObject, ObjectId, TimeRange,
    Timestamp, UtcTime,
};

const FLOWS: u8 = 3;
const OBJECTS: usize = 8;
/// Segments that one commit deletes.
const AT_ONCE: usize = 3;
const COLUMNS: &str = "flow_id, start_seconds, start_nanoseconds, start_inclusive, end_seconds, end_nanoseconds, \
                       end_inclusive, object_id";
const FORWARD: &str = "flow_id, start_seconds, start_nanoseconds, start_inclusive DESC";
const BACKWARD: &str = "flow_id DESC, start_seconds DESC, start_nanoseconds DESC, start_inclusive";

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error(transparent)]
    Read(#[from] ReadError),
}

fn flow_id(n: u8) -> FlowId {
    // Not in the order of their numbers.
    FlowId::from_random([n.wrapping_mul(97).wrapping_add(5); 16])
}

fn object_id(n: usize) -> ObjectId {
    ["a", "aa", "b", "it's", "日本", "z/1", "z/2", "zz"][n].parse().unwrap()
}

fn source_and_flows() -> Vec<Change> {
    let flow = |n| Flow { id: flow_id(n), label: Some(format!("flow {n}")), ..helpers::flow(n, 1) };
    let flows = (0..FLOWS).map(|n| Change::PutFlow(Arc::new(flow(n))));
    std::iter::once(helpers::put_source(1)).chain(flows).collect()
}

fn media(id: ObjectId, first_flow: FlowId, timerange: TimeRange) -> MediaObject {
    MediaObject { id, first_flow, timerange: Some(timerange), ..helpers::media("any", 1) }
}

fn segment(flow_id: FlowId, timerange: TimeRange, object_id: ObjectId) -> FlowSegment {
    FlowSegment { flow_id, object_id, ..helpers::segment(1, timerange, "any") }
}

/// What there is, told without keys, indexes or order.
#[derive(Debug, Default)]
struct Model {
    segments: Vec<FlowSegment>,
    objects: BTreeMap<ObjectId, MediaObject>,
}

impl Model {
    fn sorted(&self) -> Vec<&FlowSegment> {
        let mut segments: Vec<_> = self.segments.iter().collect();
        segments.sort_by_key(|segment| SegmentKey::of(segment));
        segments
    }
}

/// As [`lines`] shows a row of [`COLUMNS`].
fn line(segment: &FlowSegment) -> String {
    let bound = |bound: Option<Bound>| {
        let Bound { at, inclusive } = bound.unwrap();
        let (seconds, nanoseconds) = at.to_parts();
        format!("{seconds} {nanoseconds} {inclusive}")
    };
    let (start, end) = (bound(segment.timerange.start()), bound(segment.timerange.end()));
    format!("{} {start} {end} {}", segment.flow_id, segment.object_id.as_str())
}

fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let line = |batch: &RecordBatch, row| {
        let values = batch.columns().iter().map(|column| array_value_to_string(column, row).unwrap());
        values.collect::<Vec<_>>().join(" ")
    };
    batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| line(batch, row))).collect()
}

struct World {
    folder: tempfile::TempDir,
    clock: Clock,
    by_hand: ByHand,
    model: Model,
    random: StdRng,
}

impl World {
    async fn new(seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::manual(start_of_time(), seed);
        let by_hand = Self::open(&folder, &clock).await;
        let world = Self { folder, clock, by_hand, model: Model::default(), random: StdRng::seed_from_u64(seed) };
        world.commit(|_, _| Ok((source_and_flows(), ()))).await;
        world
    }

    async fn open(folder: &tempfile::TempDir, clock: &Clock) -> ByHand {
        ByHand::open(helpers::local(folder), clock.clone()).await
    }

    async fn commit<T, F>(&self, decide: F) -> T
    where
        F: Fn(View<'_>, UtcTime) -> Result<(Vec<Change>, T), ReadError> + Send + 'static,
        T: Send + 'static,
    {
        self.by_hand.catalog.commit(64, move |view, now| Ok::<_, Failure>(decide(view, now)?)).await.unwrap()
    }

    async fn step(&mut self) -> String {
        let flow_id = flow_id(self.random.random_range(0..FLOWS));
        match self.random.random_range(0..20) {
            0..9 => {
                let (timerange, object) = (self.timerange(), object_id(self.random.random_range(0..OBJECTS)));
                self.register(flow_id, vec![timerange], object).await
            }
            9..12 => self.delete(flow_id).await,
            12 => self.work_off().await,
            13..15 => self.drop_object().await,
            15..18 => {
                self.by_hand.flush().await;
                "flush".into()
            }
            18 => {
                self.by_hand.compact().await;
                "compact".into()
            }
            _ => {
                let checkpoint = self.random.random();
                if checkpoint {
                    self.by_hand.checkpoint().await;
                }
                self.restart().await;
                format!("restart, from a checkpoint: {checkpoint}")
            }
        }
    }

    async fn restart(&mut self) {
        self.by_hand.catalog.close().await;
        self.by_hand = Self::open(&self.folder, &self.clock).await;
    }

    /// A stretch of a short timeline, with either kind of ends.
    fn timerange(&mut self) -> TimeRange {
        loop {
            let mut place = |from: i64, to: i64| {
                let seconds = self.random.random_range(from..to);
                let nanoseconds = if self.random.random_range(0..4) == 0 { 999_999_999 } else { 0 };
                (seconds, Timestamp::from_parts(seconds, nanoseconds).unwrap())
            };
            let (seconds, start) = place(-6, 14);
            let (_, end) = place(seconds, seconds + 3);
            let bound = |at, inclusive| Some(Bound { at, inclusive });
            let ends = (bound(start, self.random.random()), bound(end, self.random.random()));
            let timerange = TimeRange::new(ends.0, ends.1);
            if timerange.is_bounded() {
                return timerange;
            }
        }
    }

    async fn register(&mut self, flow_id: FlowId, timeranges: Vec<TimeRange>, id: ObjectId) -> String {
        let (wanted, object) = (timeranges.clone(), id.clone());
        let decide = move |view: View<'_>, now: UtcTime| {
            let known = view.object(&object)?;
            let mut draft = Draft::new(view, now);
            let mut registered = Vec::new();
            for timerange in &wanted {
                let view = draft.view();
                let in_the_way = view.overlapping_segment(flow_id, *timerange)?.is_some()
                    || view.deletion_in_the_way(flow_id, *timerange, &object)?.is_some();
                if in_the_way {
                    continue;
                }
                let mut new = segment(flow_id, *timerange, object.clone());
                let media = match (&known, registered.is_empty()) {
                    (Some(known), _) => MediaObject::clone(known),
                    (None, first) => {
                        let media = media(object.clone(), flow_id, wanted[0]);
                        if first {
                            draft.extend(vec![Change::PutObject(Arc::new(media.clone()))]);
                        }
                        media
                    }
                };
                new.object_place = Some(media.place()).filter(|place| Some(*place) != new.likely_place());
                draft.extend(vec![Change::PutSegment(Arc::new(new.clone()))]);
                registered.push((new, media));
            }
            Ok((draft.into_changes(), registered))
        };
        let registered = self.commit(decide).await;
        let text = format!("register {flow_id} {timeranges:.0?} {id} {}", registered.len());
        for (new, media) in registered {
            self.model.objects.insert(id.clone(), media);
            self.model.segments.push(new);
        }
        text
    }

    async fn delete(&mut self, flow_id: FlowId) -> String {
        let timerange = match self.random.random_range(0..3) {
            0 => TimeRange::ETERNITY,
            _ => self.timerange().hull(&self.timerange()),
        };
        let only = self.random.random_range(0..3) == 0;
        let object = only.then(|| object_id(self.random.random_range(0..OBJECTS)));
        let request = DeleteRequest {
            id: DeleteRequestId::from_random(self.clock.random_bytes()),
            flow_id,
            timerange_to_delete: timerange,
            timerange_remaining: timerange,
            delete_flow: false,
            status: DeleteStatus::Created,
            created: self.clock.now(),
            created_by: None,
            updated: self.clock.now(),
            expiry: None,
            object_id: object.clone(),
        };
        let asked = request.clone();
        self.commit(move |view, now| {
            let all = view.still_to_delete(&asked).collect::<Result<Vec<_>, _>>()?;
            if all.len() <= AT_ONCE {
                return Ok((view.delete(&asked, &all, now)?, ()));
            }
            let remaining = all[0].timerange.hull(&all[all.len() - 1].timerange);
            let request = DeleteRequest { timerange_remaining: remaining, ..asked.clone() };
            Ok((vec![Change::PutDeleteRequest(Arc::new(request))], ()))
        })
        .await;
        self.model.segments.retain(|segment| {
            segment.flow_id != flow_id
                || !timerange.contains(&segment.timerange)
                || object.as_ref().is_some_and(|id| *id != segment.object_id)
        });
        format!("delete {flow_id} {timerange} {object:?}")
    }

    /// Goes on with the oldest request, by one stretch.
    async fn work_off(&mut self) -> String {
        let decide = |view: View<'_>, now: UtcTime| {
            let Some(request) = view.state().next_deletion() else { return Ok((Vec::new(), ())) };
            let all = view.still_to_delete(request).collect::<Result<Vec<_>, _>>()?;
            let (stretch, left) = all.split_at(all.len().min(AT_ONCE));
            let mut changes = view.delete(request, stretch, now)?;
            let remaining = left.first().map_or(TimeRange::NEVER, |next| {
                TimeRange::from_keys(next.timerange.start_key(), request.timerange_remaining.end_key())
            });
            changes.push(Change::PutDeleteRequest(Arc::new(DeleteRequest {
                timerange_remaining: remaining,
                status: if left.is_empty() { DeleteStatus::Done } else { DeleteStatus::Started },
                ..DeleteRequest::clone(request)
            })));
            Ok((changes, ()))
        };
        self.commit(decide).await;
        "work off".into()
    }

    /// An Object that nothing refers to goes, and its id is free again.
    async fn drop_object(&mut self) -> String {
        let id = object_id(self.random.random_range(0..OBJECTS));
        let wanted = id.clone();
        let decide = move |view: View<'_>, _: UtcTime| {
            let found = view.object(&wanted)?.filter(|_| view.is_referenced(&wanted).is_ok_and(|is| !is));
            view.is_referenced(&wanted)?;
            let Some(object) = found else { return Ok((Vec::new(), false)) };
            Ok((vec![Change::DeleteObject(wanted.clone(), object.place())], true))
        };
        let gone = self.commit(decide).await;
        if gone {
            self.model.objects.remove(&id);
        }
        format!("drop {id} {gone}")
    }

    async fn rest(&self, state: &State, flow_id: FlowId, timerange: TimeRange, reverse_order: bool) -> Vec<String> {
        let scan = SegmentScan { flow_id, timerange, reverse_order, after: None };
        let ask = |view: View<'_>| {
            view.scan_segments(&scan).map(|segment| Ok(line(&*segment?))).collect::<Result<Vec<_>, Failure>>()
        };
        self.by_hand.catalog.ask_of(state, ask).await.unwrap()
    }

    async fn scan(&self, state: &Arc<State>, scan: TableScan) -> Vec<String> {
        let batches: Vec<_> = self.by_hand.catalog.scan(state.clone(), scan).try_collect().await.unwrap();
        lines(&batches)
    }

    async fn check(&mut self, when: &str) {
        let state = self.by_hand.catalog.snapshot();
        let sql = session(&self.by_hand.catalog, &state);
        let sorted = self.model.sorted();
        let expected: Vec<String> = sorted.iter().map(|segment| line(segment)).collect();
        let backward: Vec<String> = expected.iter().rev().cloned().collect();

        let mut flows: Vec<FlowId> = (0..FLOWS).map(flow_id).collect();
        flows.sort();
        let mut rest = Vec::new();
        for flow_id in &flows {
            rest.extend(self.rest(&state, *flow_id, TimeRange::ETERNITY, false).await);
        }
        assert_eq!(rest, expected, "API {when}");

        let columns: Vec<String> = COLUMNS.split(", ").map(str::to_owned).collect();
        let all = TableScan { columns, ..TableScan::of(ColdTable::FlowSegments) };
        let mut unordered = self.scan(&state, all.clone()).await;
        unordered.sort();
        let mut texts = expected.clone();
        texts.sort();
        assert_eq!(unordered, texts, "scan {when}");
        for (order, rows) in [(ScanOrder::Forward, &expected), (ScanOrder::Backward, &backward)] {
            for limit in [None, Some(0), Some(1), Some(3), Some(rows.len())] {
                let scan = TableScan { order: Some(order), limit, ..all.clone() };
                let found = self.scan(&state, scan).await;
                assert_eq!(found, rows[..limit.unwrap_or(rows.len()).min(rows.len())], "{order:?} {limit:?} {when}");
            }
        }

        for (order, rows) in [(FORWARD, &expected), (BACKWARD, &backward)] {
            for limit in [rows.len() + 1, 1, 4] {
                let query = format!("SELECT {COLUMNS} FROM flow_segments ORDER BY {order} LIMIT {limit}");
                assert_eq!(rows_of(&sql, &query).await, rows[..limit.min(rows.len())], "{query} {when}");
            }
            let query = format!("SELECT {COLUMNS} FROM flow_segments ORDER BY {order}");
            assert_eq!(rows_of(&sql, &query).await, *rows, "{query} {when}");
        }
        let count = rows_of(&sql, "SELECT count(*) FROM flow_segments").await;
        assert_eq!(count, [expected.len().to_string()], "count {when}");
        let ids: Vec<String> = self.model.objects.keys().map(|id| id.as_str().to_owned()).collect();
        assert_eq!(rows_of(&sql, "SELECT id FROM objects ORDER BY id").await, ids, "objects {when}");
        assert_eq!(rows_of(&sql, "SELECT count(*) FROM objects").await, [ids.len().to_string()], "objects {when}");
        for id in (0..OBJECTS).map(object_id) {
            let query = format!("SELECT id FROM objects WHERE id = '{}'", id.as_str().replace('\'', "''"));
            let found: Vec<&str> =
                self.model.objects.get_key_value(&id).map(|(id, _)| id.as_str()).into_iter().collect();
            assert_eq!(rows_of(&sql, &query).await, found, "{query} {when}");
        }
        if state.next_deletion().is_none() {
            let mut references: Vec<String> = sorted
                .iter()
                .map(|segment| {
                    let (seconds, nanoseconds) = segment.timerange.start().unwrap().at.to_parts();
                    let inclusive = segment.timerange.start().unwrap().inclusive;
                    let hash = object_hash(&segment.object_id);
                    format!("{hash} {} {seconds} {nanoseconds} {inclusive}", segment.flow_id)
                })
                .collect();
            references.sort();
            let query = "SELECT object_hash, flow_id, start_seconds, start_nanoseconds, start_inclusive \
                         FROM object_references";
            let mut found = rows_of(&sql, query).await;
            found.sort();
            assert_eq!(found, references, "references {when}");
        }

        for _ in 0..3 {
            let flow_id = flow_id(self.random.random_range(0..FLOWS));
            let (from, to) = (self.random.random_range(-8..16i64), self.random.random_range(-8..16i64));
            let query = format!(
                "SELECT {COLUMNS} FROM flow_segments WHERE flow_id = '{flow_id}' AND start_seconds <= {to} \
                 AND end_seconds > {from} ORDER BY start_seconds, start_nanoseconds, start_inclusive DESC"
            );
            let seconds = |bound: Option<Bound>| bound.unwrap().at.to_parts().0;
            let within = |segment: &&&FlowSegment| {
                segment.flow_id == flow_id
                    && seconds(segment.timerange.start()) <= to
                    && seconds(segment.timerange.end()) > from
            };
            let rows: Vec<String> = self.model.sorted().iter().filter(within).map(|segment| line(segment)).collect();
            assert_eq!(rows_of(&sql, &query).await, rows, "{query} {when}");

            // The same of all Flows, and of one that a join finds out.
            let times = format!("start_seconds <= {to} AND end_seconds > {from}");
            let query = format!("SELECT {COLUMNS} FROM flow_segments WHERE {times} ORDER BY {FORWARD}");
            let in_time = |s: &&&FlowSegment| seconds(s.timerange.start()) <= to && seconds(s.timerange.end()) > from;
            let rows: Vec<String> = self.model.sorted().iter().filter(in_time).map(|segment| line(segment)).collect();
            assert_eq!(rows_of(&sql, &query).await, rows, "{query} {when}");
            let query = format!(
                "SELECT {COLUMNS} FROM flow_segments s JOIN (SELECT id FROM flows WHERE id >= '{flow_id}') f ON \
                 f.id = s.flow_id WHERE {times} ORDER BY {FORWARD}"
            );
            let later = |segment: &&&FlowSegment| segment.flow_id >= flow_id && in_time(segment);
            let rows: Vec<String> = self.model.sorted().iter().filter(later).map(|segment| line(segment)).collect();
            assert_eq!(rows_of(&sql, &query).await, rows, "{query} {when}");
            let lent =
                format!("SELECT {COLUMNS} FROM flow_segments WHERE object_flow = '{flow_id}' ORDER BY {FORWARD}");
            let lent = rows_of(&sql, &lent).await;
            let query = format!(
                "SELECT {COLUMNS} FROM flow_segments s JOIN (SELECT id FROM flows WHERE id = '{flow_id}') f ON \
                 f.id = s.object_flow ORDER BY {FORWARD}"
            );
            let expected = if state.flow(flow_id).is_some() { lent } else { Vec::new() };
            assert_eq!(rows_of(&sql, &query).await, expected, "{query} {when}");
            let brought = self.model.objects.values().filter(|object| object.first_flow == flow_id);
            let brought: Vec<String> = brought.map(|object| object.id.as_str().to_owned()).collect();
            for query in [
                format!("SELECT id FROM objects WHERE first_flow = '{flow_id}' ORDER BY id"),
                format!(
                    "SELECT id FROM objects WHERE first_flow IN (SELECT id FROM flows WHERE id = '{flow_id}') ORDER BY id"
                ),
            ] {
                let there = query.contains("flows") && state.flow(flow_id).is_none();
                let expected = if there { Vec::new() } else { brought.clone() };
                assert_eq!(rows_of(&sql, &query).await, expected, "{query} {when}");
            }

            let timerange = self.timerange();
            let scan = TableScan {
                flows: Some(BTreeSet::from([flow_id])),
                timerange,
                order: Some(ScanOrder::Backward),
                ..all.clone()
            };
            let found = self.scan(&state, scan).await;
            assert_eq!(found, self.rest(&state, flow_id, timerange, true).await, "{timerange} {when}");
            let overlapping =
                |segment: &&&FlowSegment| segment.flow_id == flow_id && segment.timerange.overlaps(&timerange);
            let rows =
                self.model.sorted().iter().rev().filter(overlapping).map(|segment| line(segment)).collect::<Vec<_>>();
            assert_eq!(found, rows, "{timerange} {when}");
        }
    }

    async fn check_duck(&self, when: &str) {
        let state = self.by_hand.catalog.snapshot();
        let tables = duck_tables(&self.by_hand.catalog, &state).await.unwrap();
        let scratch = self.folder.path().join("scratch");
        let settings = DuckSettings { threads: 1, memory_bytes: 256 << 20, scratch, scratch_bytes: 1 << 30 };
        let duck = Duck::open(&settings, &tables, &[]).unwrap();
        let texts = |sql: &str| {
            use duckdb::arrow::array::AsArray;
            let batches = duck.query(sql).unwrap();
            let texts = batches.iter().flat_map(|batch| batch.column(0).as_string::<i32>().iter());
            texts.map(|text| text.unwrap().to_owned()).collect::<Vec<_>>()
        };
        let expected: Vec<String> = self.model.sorted().iter().map(|segment| line(segment)).collect();
        let query = format!("SELECT concat_ws(' ', {COLUMNS}) FROM flow_segments ORDER BY {FORWARD}");
        assert_eq!(texts(&query), expected, "DuckDB {when}");
        let ids: Vec<String> = self.model.objects.keys().map(|id| id.as_str().to_owned()).collect();
        assert_eq!(texts("SELECT id FROM objects ORDER BY id"), ids, "DuckDB {when}");
        assert_eq!(texts("SELECT label FROM flows ORDER BY label"), ["flow 0", "flow 1", "flow 2"], "DuckDB {when}");
    }
}

/// DataFusion as every way in has it, but for threads and memory.
fn session(catalog: &Catalog, state: &Arc<State>) -> Session {
    let settings = SessionSettings {
        threads: 4,
        memory_bytes: 256 << 20,
        scratch: std::env::temp_dir(),
        scratch_bytes: 1 << 30,
        merge_bytes: None,
        backends: backends::rows(&[]),
        postgres: false,
    };
    Session::new(catalog, state, &settings).unwrap()
}

async fn rows_of(sql: &Session, query: &str) -> Vec<String> {
    let (_, batches) = sql.query(query, &Params::default()).await.unwrap();
    let batches: Vec<_> = batches.try_collect().await.unwrap();
    lines(&batches)
}

async fn history(seed: u64) {
    let mut world = World::new(seed).await;
    let mut history = Vec::new();
    for step in 0..60 {
        history.push(world.step().await);
        let when = format!("seed {seed} step {step}: {history:#?}");
        if step % 3 == 0 {
            world.check(&when).await;
        }
        if step % 20 == 19 {
            world.check_duck(&when).await;
        }
    }
    world.by_hand.catalog.close().await;
}

fn run(history: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(history);
}

#[test]
fn all_ways_to_read_show_the_same_rows_whatever_happened() {
    (0..10).for_each(|seed| run(history(seed)));
}

#[test]
fn all_ways_to_read_show_the_same_rows_of_many_small_files_and_pages() {
    (100..120).for_each(|seed| with_small_files(|| run(history(seed))));
}

#[tokio::test]
async fn long_scans_show_what_short_ones_do() {
    let mut world = World::new(1_000).await;
    let tick = |n: i64| Timestamp::from_nanoseconds(i128::from(n) * 1_000_000_000).unwrap();
    for (round, flow) in [(0, 0), (1, 0), (2, 1)] {
        // Every other second, so that the next round falls between those of this one.
        let ticks = (0..9_000).map(|n| TimeRange::half_open(tick(2 * n + round % 2), tick(2 * n + round % 2 + 1)));
        world.register(flow_id(flow), ticks.collect(), object_id(usize::from(flow))).await;
        world.by_hand.flush().await;
    }
    world.check("in three files").await;
    let hot = (0..500).map(|n| TimeRange::half_open(tick(20_000 + n), tick(20_001 + n))).collect();
    world.register(flow_id(0), hot, object_id(2)).await;
    let range = TimeRange::half_open(tick(3_000), tick(15_000));
    let id = flow_id(0);
    world
        .commit(move |view, now| {
            let scan = SegmentScan { flow_id: id, timerange: range, reverse_order: false, after: None };
            let all = view.scan_segments(&scan).collect::<Result<Vec<_>, _>>()?;
            let mut draft = Draft::new(view, now);
            draft.extend(vec![Change::DeleteSegmentsWithin { flow_id: id, timerange: range }]);
            let more = draft.view().after_deleting(id, &all, view)?;
            draft.extend(more);
            Ok((draft.into_changes(), ()))
        })
        .await;
    world.model.segments.retain(|segment| segment.flow_id != id || !range.contains(&segment.timerange));
    world.check("with a hole").await;
    world.check_duck("with a hole").await;
    world.by_hand.compact().await;
    world.check("compacted").await;
    world.by_hand.catalog.close().await;
}

#[tokio::test]
async fn an_order_along_the_timeline_is_the_scans_own() {
    let mut world = World::new(7).await;
    for (n, from) in [(0, 0), (1, 5)] {
        let range = TimeRange::half_open(Timestamp::from_seconds(from), Timestamp::from_seconds(from + 1));
        world.register(flow_id(n), vec![range], object_id(0)).await;
        world.by_hand.flush().await;
    }
    let sql = session(&world.by_hand.catalog, &world.by_hand.catalog.snapshot());
    for (order, sorted) in [
        (FORWARD, false),
        (BACKWARD, false),
        ("flow_id", false),
        ("flow_id DESC, start_seconds DESC", false),
        ("start_seconds", true),
        ("flow_id, start_seconds DESC", true),
        ("object_id", true),
    ] {
        let plan = rows_of(&sql, &format!("EXPLAIN SELECT object_id FROM flow_segments ORDER BY {order}")).await;
        assert_eq!(plan.iter().any(|line| line.contains("SortExec")), sorted, "{order}: {plan:#?}");
    }
    let one_flow = format!("WHERE flow_id = '{}'", flow_id(1));
    for order in ["start_seconds", "start_seconds DESC", "start_seconds DESC, start_nanoseconds DESC"] {
        let query = format!("EXPLAIN SELECT object_id FROM flow_segments {one_flow} ORDER BY {order} LIMIT 3");
        let plan = rows_of(&sql, &query).await;
        assert!(!plan.iter().any(|line| line.contains("SortExec")), "{order}: {plan:#?}");
        assert!(plan.iter().any(|line| line.contains("limit=3")), "{order}: {plan:#?}");
    }
    for changing in ["DELETE FROM flows", "CREATE TABLE x AS SELECT 1", "SET datafusion.execution.batch_size = 1"] {
        assert!(sql.query(changing, &Params::default()).await.is_err(), "{changing}");
    }
    let columns =
        rows_of(&sql, "SELECT column_name FROM information_schema.columns WHERE table_name = 'webhooks'").await;
    assert!(columns.contains(&"url".to_owned()) && !columns.iter().any(|name| name.contains("api_key_value")));
    world.by_hand.catalog.close().await;
}

/// Its row in a file of long ago would come back when the newer one goes.
#[tokio::test]
async fn an_object_that_is_gone_stays_gone_whatever_had_its_id_meanwhile() {
    for restarts in [false, true] {
        let mut world = World::new(8).await;
        let id = object_id(0);
        for (flow, flushes) in [(0, true), (1, false)] {
            let range = TimeRange::half_open(Timestamp::from_seconds(5), Timestamp::from_seconds(6));
            world.register(flow_id(flow), vec![range], id.clone()).await;
            if flushes {
                world.by_hand.flush().await;
            }
            let key = SegmentKey { flow_id: flow_id(flow), start: range.start_key() };
            world.commit(move |_, _| Ok((vec![Change::DeleteSegment(key)], ()))).await;
            let (wanted, place) = (id.clone(), world.model.objects[&id].place());
            world.commit(move |_, _| Ok((vec![Change::DeleteObject(wanted.clone(), place)], ()))).await;
            world.model = Model::default();
            if flow == 0 {
                continue;
            }
            world.by_hand.flush().await;
            if restarts {
                world.restart().await;
            }
        }
        for when in ["flushed", "compacted"] {
            let state = world.by_hand.catalog.snapshot();
            let found =
                world.by_hand.catalog.ask_of(&state, |view| Ok::<_, Failure>(view.object(&object_id(0))?)).await;
            assert_eq!(found.unwrap(), None, "{when}");
            world.check(when).await;
            world.by_hand.compact().await;
        }
        world.by_hand.catalog.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_came_later_is_null_in_files_of_an_older_version_for_either_engine() {
    let folder = tempfile::tempdir().unwrap();
    older_version::copy(&older_version::golden(), folder.path());
    let by_hand = ByHand::open(helpers::local(&folder), Clock::manual(start_of_time(), 1)).await;
    let object = MediaObject { size_bytes: Some(1_234), ..helpers::media("new", 1) };
    let segment = FlowSegment { registered: Some(start_of_time()), ..helpers::segment(1, helpers::second(9), "new") };
    let new = vec![Change::PutObject(Arc::new(object)), Change::PutSegment(Arc::new(segment))];
    helpers::put(&by_hand.catalog, new).await.unwrap();
    for is_flushed in [false, true] {
        if is_flushed {
            by_hand.flush().await;
        }
        let state = by_hand.catalog.snapshot();
        let settings = DuckSettings {
            threads: 1,
            memory_bytes: 256 << 20,
            scratch: folder.path().join("scratch"),
            scratch_bytes: 1 << 30,
        };
        let tables = duck_tables(&by_hand.catalog, &state).await.unwrap();
        let duck = Duck::open(&settings, &tables, &[]).unwrap();
        let sql = session(&by_hand.catalog, &state);
        for (query, answer) in [
            ("SELECT concat(count(*), ' ', count(size_bytes), ' ', sum(size_bytes)) FROM objects", "8 1 1234"),
            ("SELECT concat(count(*), ' ', count(registered)) FROM flow_segments", "6 1"),
        ] {
            use duckdb::arrow::array::AsArray;
            assert_eq!(duck.query(query).unwrap()[0].column(0).as_string::<i32>().value(0), answer, "DuckDB: {query}");
            assert_eq!(rows_of(&sql, query).await, [answer], "DataFusion: {query}");
        }
    }
}
