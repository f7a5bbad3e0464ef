//! What a layout costs: bytes a row, and the time to read one page from bytes in memory. Not run by default:
//! `cargo test --release --lib cold::measure -- --ignored --nocapture`, with `LAYOUTS` naming other layouts than ours.
//!
//! Rows are a stretch of 1 million out of a catalogue with 10 million segments in 10 thousand Flows: 2 s each, half of
//! them of Objects that another Flow brought, ids random.

use std::time::Duration;

use arrow::array::RecordBatch;
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::layout::Text;
use super::*;
use crate::catalog::change::{ReferenceKey, SegmentKey};
use crate::domain::{
    Allocation, FlowId, FlowSegment, Instance, MediaObject, ObjectId, ObjectKind, ObjectPlace, StorageId, TimeRange,
    Timestamp, UtcTime,
};

const ROWS: usize = 1 << 20;
const FLOWS: usize = 10_000;
const PART: usize = 10;

#[expect(clippy::disallowed_methods, reason = "it measures time")]
fn time<T>(run: impl FnOnce() -> T) -> (Duration, T) {
    let start = std::time::Instant::now();
    let value = run();
    (start.elapsed(), value)
}

struct World {
    dice: StdRng,
    flows: Vec<FlowId>,
}

impl World {
    fn new() -> Self {
        let mut dice = StdRng::seed_from_u64(1);
        let mut flows: Vec<_> = (0..FLOWS).map(|_| FlowId::from_random(dice.random())).collect();
        flows.sort();
        Self { dice, flows }
    }

    fn seconds(n: i64) -> Timestamp {
        Timestamp::from_parts(n, 0).unwrap()
    }

    /// Segment `n` of a Flow: all Flows go at the same time, 100 segments in a log entry.
    fn lsn(&mut self, flow: usize, n: i64) -> Lsn {
        let entry = i64::try_from(FLOWS / 100).unwrap() * n + i64::try_from(flow % 100).unwrap();
        let seq = u64::try_from(1_000_000 + entry + self.dice.random_range(0..3)).unwrap();
        Lsn { seq, index: self.dice.random_range(0..300) }
    }

    fn range(n: i64) -> TimeRange {
        let start = 1_700_000_000 + 2 * n;
        TimeRange::half_open(Self::seconds(start), Self::seconds(start + 2))
    }

    fn id(&mut self) -> ObjectId {
        FlowId::from_random(self.dice.random()).to_string().parse().unwrap()
    }

    fn segments(&mut self) -> RecordBatch {
        let mut rows = Vec::with_capacity(ROWS);
        for flow in 0..ROWS / 1000 {
            // Every other Flow is made of another's Objects, which are used at their own time.
            let lender = self.flows[self.dice.random_range(0..FLOWS)];
            for n in 0..1000 {
                let object_id = self.id();
                let start = Self::range(n).start_key();
                let object_place = (flow % 2 == 1).then_some(ObjectPlace { flow_id: lender, start });
                let segment = FlowSegment {
                    flow_id: self.flows[flow],
                    timerange: Self::range(n),
                    object_id,
                    init_object: None,
                    ts_offset: Timestamp::ZERO,
                    last_duration: Timestamp::from_nanoseconds(40_000_000),
                    sample_offset: None,
                    sample_count: None,
                    object_place,
                    registered: UtcTime::from_timestamp_micros(
                        (1_700_000_000 + 2 * n) * 1_000_000 + self.dice.random_range(0..2_000_000),
                    ),
                };
                rows.push((self.lsn(flow, n), segment));
            }
        }
        segments_batch(&rows.iter().map(|(lsn, row)| (*lsn, row)).collect::<Vec<_>>()).unwrap()
    }

    fn objects(&mut self) -> RecordBatch {
        let storage_id = StorageId::from_random([1; 16]);
        let mut rows = Vec::with_capacity(ROWS / 2);
        for (flow, n) in (0..ROWS / 2000).flat_map(|flow| (0..1000).map(move |n| (2 * flow, n))) {
            let id = self.id();
            let lsn = self.lsn(flow, n);
            let jitter = self.dice.random_range(0..2_000_000);
            let created = UtcTime::from_timestamp_micros((1_700_000_000 + 2 * n) * 1_000_000 + jitter).unwrap();
            let object = MediaObject {
                instances: vec![Instance::Controlled { storage_id, key: MediaObject::own_key(&id, created) }],
                id,
                kind: Some(ObjectKind::Media),
                first_flow: self.flows[flow],
                timerange: Some(Self::range(n)),
                key_frame_count: Some(2),
                init_object: None,
                allocation: Some(Allocation {
                    content_type: "video/mp2t".parse().unwrap(),
                    expires: created + Duration::from_secs(3600),
                }),
                condemned_instances: Vec::new(),
                condemned: false,
                created,
                size_bytes: Some(self.dice.random_range(1_500_000..2_500_000)),
            };
            rows.push((lsn, object));
        }
        objects_batch(&rows.iter().map(|(lsn, row)| (*lsn, ObjectEntry::Is(row))).collect::<Vec<_>>()).unwrap()
    }

    fn references(&mut self) -> RecordBatch {
        let part = i64::MAX / i64::try_from(PART).unwrap() * 2;
        let mut rows = Vec::with_capacity(ROWS);
        for _ in 0..ROWS / 2 {
            let object_hash = i64::MIN + self.dice.random_range(0..part);
            let (flow, n) = (self.dice.random_range(0..FLOWS - 1), self.dice.random_range(0..1000));
            for flow in [flow, self.dice.random_range(0..FLOWS)] {
                let segment = SegmentKey { flow_id: self.flows[flow], start: Self::range(n).start_key() };
                let key = ReferenceKey { object_hash, segment };
                rows.push(Reference { key, lsn: self.lsn(flow, n) });
            }
        }
        rows.sort_by_key(|row| (row.key, row.lsn));
        references_batch(&rows).unwrap()
    }
}

/// Like `page=2048,groups=131072,zstd=3,zn=0,zd,flows=delta,v2`, after the name of a table and a space.
fn layout(table: ColdTable, words: &str) -> Layout {
    let mut layout = Layout::of(table);
    let text = |word: &str| match word {
        "delta" => Text::Delta,
        "plain" => Text::Plain,
        _ => Text::Dictionary,
    };
    for word in words.split(',').filter(|word| !word.is_empty()) {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        match name {
            "page" => layout.page_rows = value.parse().unwrap(),
            "groups" => layout.row_group_rows = value.parse().unwrap(),
            "zstd" => layout.zstd = value.parse().unwrap(),
            "zn" => layout.zstd_numbers = value != "0",
            "zr" => layout.zstd_repeated = value != "0",
            "zd" => layout.zstd_dictionaries = value != "0",
            "flows" => layout.scattered_flows = text(value),
            "objects" => layout.scattered_objects = text(value),
            "v2" => layout.data_page_v2 = value != "0",
            other => panic!("{other}"),
        }
    }
    layout
}

#[test]
#[ignore = "it measures, and takes a minute"]
fn bytes_a_row_and_time_a_page() {
    let text = std::env::var("LAYOUTS").unwrap_or("flow_segments ;objects ;object_references ".into());
    let mut made: Vec<(ColdTable, RecordBatch)> = Vec::new();
    println!(
        "{:60} {:>7} {:>7} {:>8} {:>8} {:>8} {:>7}",
        "layout", "B/row", "tail", "ms/64k", "us/page", "checked", "fetch"
    );
    for line in text.split(';') {
        let (name, words) = line.trim_start().split_once(' ').unwrap_or((line, ""));
        let table = ColdTable::from_name(name).unwrap();
        if !made.iter().any(|(made, _)| *made == table) {
            let mut world = World::new();
            let batch = match table {
                ColdTable::FlowSegments => world.segments(),
                ColdTable::Objects => world.objects(),
                ColdTable::References => world.references(),
            };
            made.push((table, batch));
        }
        let (_, batch) = made.iter().find(|(made, _)| *made == table).unwrap();
        measure(table, line, layout(table, words.trim()), batch);
    }
}

fn measure(table: ColdTable, name: &str, layout: Layout, batch: &RecordBatch) {
    let write = |batch: &RecordBatch| {
        let mut writer = FileWriter::with_layout(table, "measured".into(), layout).unwrap();
        writer.push(batch).unwrap();
        writer.finish().unwrap()
    };
    let (took, _) = time(|| write(&batch.slice(0, 64 * 1024)));
    let (file, meta) = write(batch);
    let tail_start = usize::try_from(meta.bytes - meta.tail_bytes).unwrap();
    let index = FileIndex::load(&meta, &file.slice(tail_start..)).unwrap();
    let mut dice = StdRng::seed_from_u64(2);
    let (mut pages, mut checked, mut fetched) = (Vec::new(), Vec::new(), 0);
    for _ in 0..200 {
        let page = dice.random_range(0..index.pages());
        let ranges = index.byte_ranges(page..page + 1, None);
        let bytes: Vec<(_, Bytes)> = ranges
            .iter()
            .map(|range| {
                let place = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
                fetched += place.len();
                (range.clone(), file.slice(place))
            })
            .collect();
        let (decode, batch) = time(|| index.decode_pages(page..page + 1, None, &bytes).unwrap());
        pages.push(decode);
        checked.push(time(|| Page::new(table, batch, "measured").unwrap()).0);
    }
    pages.sort();
    checked.sort();
    let per_row = |bytes: u64| bytes as f64 / meta.rows as f64;
    println!(
        "{name:60} {:7.2} {:7.2} {:8.0} {:8.0} {:8.0} {:7} {:7.2}",
        per_row(meta.bytes),
        per_row(meta.tail_bytes),
        took.as_secs_f64() * 1e3,
        pages[pages.len() / 2].as_secs_f64() * 1e6,
        checked[checked.len() / 2].as_secs_f64() * 1e6,
        fetched / 200,
        per_row(index.memory_size() as u64),
    );
    if std::env::var("COLUMNS").is_ok() {
        index.print_columns();
    }
}
