//! Tables for `tests/published/read.py`: what other programs make of what is published here.
//!
//! `TAMSLAKE_PUBLISHED_SAMPLE=<folder> cargo test --lib writes_tables_for_other_readers -- --ignored`

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int32Array, Int64Array, ListBuilder, MapBuilder, StringArray, StringBuilder, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use roaring::RoaringBitmap;
use serde_json::{Value, json};

use super::super::{Cut, CutFile, PublishSettings, Publisher, local_table, parquet_stats, whole_table};
use super::helpers::{CATALOGUE, now};

const ROWS_A_FLOW: i64 = 5_000;
const FLOWS_A_FILE: i64 = 20;

/// Segments of some Flows, two seconds each; as the table `flow_segments` is sorted.
fn segments(file: i64) -> RecordBatch {
    let element = Field::new("element", DataType::Utf8, false);
    let mut tags = MapBuilder::new(
        Some(arrow::array::builder::MapFieldNames {
            entry: "entries".into(),
            key: "key".into(),
            value: "value".into(),
        }),
        StringBuilder::new(),
        ListBuilder::new(StringBuilder::new()).with_field(element),
    )
    .with_values_field(Field::new(
        "value",
        DataType::List(Arc::new(Field::new("element", DataType::Utf8, false))),
        false,
    ));
    let mut columns = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for flow in file * FLOWS_A_FILE..(file + 1) * FLOWS_A_FILE {
        for n in 0..ROWS_A_FLOW {
            columns.0.push(format!("flow-{flow:04}"));
            columns.1.push(1_700_000_000 + 2 * n);
            columns.2.push((n % 7 != 0).then_some(1 + flow));
            columns.3.push(1_600_000_000_000_000 + n);
            if n % 3 == 0 {
                tags.keys().append_value("kind");
                tags.values().append_value([Some("live")]);
            }
            tags.append(n % 3 != 2).unwrap();
        }
    }
    let rows = columns.0.len();
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(columns.0)),
        Arc::new(Int64Array::from(columns.1)),
        Arc::new(Int32Array::from(vec![0; rows])),
        Arc::new(Int64Array::from(columns.2)),
        Arc::new(TimestampMicrosecondArray::from(columns.3).with_timezone("UTC")),
        Arc::new(tags.finish()),
    ];
    let fields = vec![
        Field::new("flow_id", DataType::Utf8, false),
        Field::new("start_seconds", DataType::Int64, false),
        Field::new("start_nanoseconds", DataType::Int32, false),
        Field::new("sample_count", DataType::Int64, true),
        Field::new("created", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
        Field::new("tags", arrays[5].data_type().clone(), true),
    ];
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

fn parquet(path: &str, batch: &RecordBatch) -> (CutFile, Bytes) {
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(16_384)).build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    let metadata = writer.close().unwrap();
    let (rows, size) = (batch.num_rows() as u64, bytes.len() as u64);
    let stats = parquet_stats(&batch.schema(), &metadata);
    (CutFile { path: path.to_owned(), bytes: size, rows, stats, dead: RoaringBitmap::new() }, bytes.into())
}

/// `(flow, start)` of the live rows.
fn live(dead: &[RoaringBitmap]) -> Vec<(i64, i64)> {
    let row = |file: usize, row: u32| {
        let file = i64::try_from(file).unwrap();
        (file * FLOWS_A_FILE + i64::from(row) / ROWS_A_FLOW, 1_700_000_000 + 2 * (i64::from(row) % ROWS_A_FLOW))
    };
    let rows = u32::try_from(FLOWS_A_FILE * ROWS_A_FLOW).unwrap();
    let files = dead.iter().enumerate();
    files.flat_map(|(file, dead)| (0..rows).filter(|n| !dead.contains(*n)).map(move |n| row(file, n))).collect()
}

fn question(sql: &str, rows: impl Iterator<Item = i64>) -> Value {
    let (mut count, mut sum) = (0, 0);
    rows.for_each(|value| {
        count += 1;
        sum += value;
    });
    json!({ "sql": sql, "answer": [json!(count), if count == 0 { Value::Null } else { json!(sum) }] })
}

#[expect(clippy::disallowed_methods, reason = "tells how long commits take")]
async fn table(root: &Path, name: &str, dead: &[Vec<RoaringBitmap>]) -> Value {
    let folder = root.join(name);
    let mut publisher = Publisher::new(name, CATALOGUE, local_table(&folder).unwrap(), PublishSettings::default());
    std::fs::create_dir_all(folder.join("data")).unwrap();
    let mut stored = Vec::new();
    let mut times = Vec::new();
    for (seq, dead) in (1..).zip(dead) {
        let mut files = Vec::new();
        for (n, dead) in dead.iter().enumerate() {
            if stored.len() == n {
                let batch = segments(i64::try_from(n).unwrap());
                let (file, bytes) = parquet(&format!("data/{n}.parquet"), &batch);
                std::fs::write(folder.join(&file.path), bytes).unwrap();
                stored.push((file, batch.schema()));
            }
            files.push(CutFile { dead: dead.clone(), ..stored[n].0.clone() });
        }
        let cut = Cut { seq, committed: now(), schema: stored[0].1.clone(), files };
        let begun = std::time::Instant::now();
        publisher.publish(&cut, now()).await.unwrap();
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    let (median, p90, max) = (times[times.len() / 2], times[times.len() * 9 / 10], times[times.len() - 1]);
    eprintln!("{name}: {} commits, median {median:?}, p90 {p90:?}, max {max:?}", times.len());
    let rows = live(dead.last().unwrap());
    let of = |wanted: i64| rows.iter().filter(move |(flow, _)| *flow == wanted);
    let start = 1_700_000_900;
    let sum = "select count(*) as a, sum(start_seconds) as b from t";
    json!([
        question(sum, rows.iter().map(|(_, start)| *start)),
        question(&format!("{sum} where flow_id = 'flow-0001'"), of(1).map(|(_, start)| *start)),
        question(
            &format!(
                "{sum} where flow_id = 'flow-0021' and start_seconds >= {start} and start_seconds < {}",
                start + 4_000
            ),
            of(21).map(|(_, start)| *start).filter(|at| (start..start + 4_000).contains(at)),
        ),
        question(
            &format!("{sum} where start_seconds = {}", start + 2),
            rows.iter().map(|(_, start)| *start).filter(|at| *at == start + 2),
        ),
        question(
            &format!("{sum} where sample_count is null"),
            rows.iter().map(|(_, start)| *start).filter(|at| (at - 1_700_000_000) / 2 % 7 == 0),
        ),
    ])
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes tables for tests/published/read.py"]
async fn writes_tables_for_other_readers() {
    let root = std::env::var_os("TAMSLAKE_PUBLISHED_SAMPLE").expect("a folder to write to");
    let root = Path::new(&root);
    let none = RoaringBitmap::new();
    // A range of a Flow's timeline and single rows: inline.
    let mut range = RoaringBitmap::from_iter([0, 99_999]);
    range.insert_range(5_100..6_000);
    // Every third row: a file.
    let scattered: RoaringBitmap = (0..100_000).step_by(3).collect();
    let all: RoaringBitmap = (0..100_000).collect();
    let mut expected = serde_json::Map::new();
    let shapes: [(&str, Vec<Vec<RoaringBitmap>>); 5] = [
        ("no_vectors", vec![vec![none.clone(), none.clone()]]),
        ("inline", vec![vec![range.clone(), none.clone()]]),
        ("file", vec![vec![scattered.clone(), scattered.clone()]]),
        (
            "history",
            vec![
                vec![none.clone()],
                vec![none.clone(), none.clone()],
                vec![range.clone(), none.clone()],
                vec![&range | &scattered, range.clone(), none.clone()],
                vec![all.clone(), &range | &scattered, none.clone()],
            ],
        ),
        (
            "checkpointed",
            (0..120_u32).map(|n| vec![(0..=n * 100).collect(), (n..50_000 + n).step_by(2).collect()]).collect(),
        ),
    ];
    for (name, shape) in shapes {
        expected.insert(name.to_owned(), table(root, name, &shape).await);
    }

    let folder = root.join("whole");
    let mut publisher = Publisher::new("whole", CATALOGUE, local_table(&folder).unwrap(), PublishSettings::default());
    for (seq, length) in (1..).zip([100, 200]) {
        let batch = segments(0).slice(0, length);
        let (file, bytes) = whole_table("whole", &batch).unwrap();
        std::fs::create_dir_all(folder.join("data")).unwrap();
        std::fs::write(folder.join(&file.path), bytes).unwrap();
        let cut = Cut { seq, committed: now(), schema: batch.schema(), files: vec![file] };
        publisher.publish(&cut, now()).await.unwrap();
    }
    let rows = (0..200).map(|n| 1_700_000_000 + 2 * n);
    let sql = "select count(*) as a, sum(start_seconds) as b from t";
    expected.insert("whole".to_owned(), json!([question(sql, rows)]));
    std::fs::write(root.join("expected.json"), serde_json::to_string_pretty(&expected).unwrap()).unwrap();
}

/// What commits cost when the table is large: with so many files, each commit brings one and changes five.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "tells times, asserts nothing"]
#[expect(clippy::disallowed_methods, reason = "tells how long commits take")]
async fn commits_of_large_tables() {
    for count in [10, 200, 2_000, 10_000_u32] {
        let folder = tempfile::tempdir().unwrap();
        let log_store = local_table(folder.path()).unwrap();
        let mut publisher = Publisher::new("large", CATALOGUE, log_store, PublishSettings::default());
        let batch = segments(0).slice(0, 5_000);
        let (file, _) = parquet("", &batch);
        let file =
            |n: u32| CutFile { path: format!("data/{}.parquet", uuid::Uuid::from_u128(n.into())), ..file.clone() };
        let mut files: Vec<CutFile> = (0..count).map(file).collect();
        let mut times = Vec::new();
        for seq in 1..=120_u32 {
            files.push(file(count + seq));
            for n in 0..5 {
                let place = (seq * 5 + n) as usize * 7 % files.len();
                files[place].dead.insert_range(seq * 10..seq * 10 + 7);
            }
            let cut = Cut { seq: seq.into(), committed: now(), schema: batch.schema(), files: files.clone() };
            let begun = std::time::Instant::now();
            publisher.publish(&cut, now()).await.unwrap();
            times.push(begun.elapsed());
        }
        times.sort_unstable();
        eprintln!("{count} files: median {:?}, p90 {:?}, max {:?}", times[60], times[108], times[119]);
    }
}
