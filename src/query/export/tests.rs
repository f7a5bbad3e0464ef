//! Exports of a small catalogue: what is in the files, what a crash leaves, who waits and what is kept.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::util::display::array_value_to_string;
use futures::TryStreamExt;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::catalog::tests::helpers::{self, ByHand, start_of_time};
use crate::catalog::{AsOf, Change};
use crate::clock::Clock;
use crate::domain::{TimeRange, Timestamp};
use crate::query::output::json_lines;
use crate::query::{Engine, Question, Sql, SqlSettings};

const SEGMENTS: i64 = 1_000;
const ROWS_PER_FILE: u64 = 150;

struct World {
    folder: tempfile::TempDir,
    /// Of the catalogue.
    data: tempfile::TempDir,
    clock: Clock,
    by_hand: ByHand,
    sql: Sql,
}

fn settings(scratch: std::path::PathBuf) -> SqlSettings {
    std::fs::create_dir_all(&scratch).unwrap();
    SqlSettings {
        engine: Engine::DataFusion,
        threads: 2,
        timeout: Duration::from_secs(60),
        memory_bytes: 256 << 20,
        scratch,
        scratch_bytes: 1 << 30,
        max_rows: 10,
        max_sql_bytes: 1 << 20,
        max_running: 1,
        max_running_of_caller: 1,
        patience: Duration::from_secs(60),
    }
}

impl World {
    /// Half of the segments are in files, half in memory; they are on two days of three Flows.
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::manual(start_of_time(), 1);
        let data = tempfile::tempdir().unwrap();
        let by_hand = ByHand::open(helpers::local(&data), clock.clone()).await;
        let world = Self {
            sql: Sql::new(by_hand.catalog.clone(), settings(folder.path().join("scratch")), Arc::new(Vec::new))
                .unwrap(),
            by_hand,
            clock,
            data,
            folder,
        };
        let flows = (0..3).map(|n| helpers::put_flow(n, 1));
        world.put(std::iter::once(helpers::put_source(1)).chain(flows).collect()).await;
        world.register(0..SEGMENTS / 2).await;
        world.by_hand.flush().await;
        world.clock.advance(Duration::from_secs(24 * 60 * 60));
        world.register(SEGMENTS / 2..SEGMENTS).await;
        world
    }

    async fn put(&self, changes: Vec<Change>) {
        helpers::put(&self.by_hand.catalog, changes).await.unwrap();
    }

    async fn register(&self, numbers: std::ops::Range<i64>) {
        let changes = numbers.flat_map(|n| {
            // A day has 86,400 of them, of which each takes 100.
            let start = 1_700_000_000 + n * 100;
            let at = |seconds| Timestamp::from_nanoseconds(i128::from(seconds) * 1_000_000_000).unwrap();
            let (flow, object) = (u8::try_from(n % 3).unwrap(), format!("object-{n:04}"));
            let media = crate::domain::MediaObject { created: self.clock.now(), ..helpers::media(&object, flow) };
            let range = TimeRange::half_open(at(start), at(start + 100));
            [helpers::put_object(media), helpers::put_segment(flow, range, &object)]
        });
        self.put(changes.collect()).await;
    }

    fn settings(&self) -> ExportSettings {
        ExportSettings {
            dir: self.folder.path().join("exports"),
            max_running: 1,
            retention: Duration::from_secs(60 * 60),
            space_bytes: 1 << 30,
            min_free_bytes: 0,
        }
    }

    fn exports(&self) -> Exports {
        Exports::open(self.sql.clone(), self.clock.clone(), self.settings()).unwrap()
    }

    fn target(&self, name: &str) -> Folder {
        Folder::new(&self.folder.path().join(name)).unwrap()
    }

    async fn begin(&self, request: &ExportRequest) -> Record {
        begin(&self.sql, &self.clock, request.clone(), "tests").await.unwrap()
    }

    async fn run(&self, target: impl Target + 'static, mut record: Record) -> (Record, Result<(), ExportError>) {
        let (sql, clock) = (self.sql.clone(), self.clock.clone());
        let work = move || {
            let stop = CancellationToken::new();
            let run = Run { sql: &sql, clock: &clock, target: &target, watch: &Silent, stop: &stop };
            let outcome = run.to_end(&mut record);
            (record, outcome)
        };
        self.sql.handle().spawn_blocking(work).await.unwrap()
    }

    async fn export(&self, folder: &str, request: &ExportRequest) -> Manifest {
        let target = self.target(folder);
        let (record, outcome) = self.run(target.clone(), self.begin(request).await).await;
        outcome.unwrap();
        assert_eq!(record.job.state, JobState::Done);
        let manifest: Manifest = serde_json::from_slice(&target.read(MANIFEST).unwrap().unwrap()).unwrap();
        assert_eq!(manifest, Manifest::of(&record));
        assert_eq!(target.names().unwrap().len(), manifest.files.len());
        manifest
    }

    /// An object of JSON a row.
    async fn rows(&self, sql: &str) -> Vec<Value> {
        let answer = self.sql.ask(Question { export: true, ..Question::new(sql) }).await.unwrap();
        rows_of(&answer.batches.try_collect::<Vec<_>>().await.unwrap())
    }

    async fn close(self) {
        self.by_hand.catalog.close().await;
        drop(self.data);
    }
}

fn request(json: Value) -> ExportRequest {
    serde_json::from_value(json).unwrap()
}

fn rows_of(batches: &[RecordBatch]) -> Vec<Value> {
    let lines = batches.iter().flat_map(|batch| json_lines(batch).unwrap()).collect::<Vec<_>>();
    parsed(&lines)
}

fn parsed(lines: &[u8]) -> Vec<Value> {
    lines
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

fn parquet(target: &Folder, name: &str) -> Vec<Value> {
    let file = std::fs::File::open(target.place(name)).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    rows_of(&reader.collect::<Result<Vec<_>, _>>().unwrap())
}

fn hashes(files: &[File]) -> Vec<(&str, &str)> {
    files.iter().map(|file| (file.name.as_str(), file.sha256.as_str())).collect()
}

/// Fails when so many files are finished, as if the process ended there.
struct Crashing {
    folder: Folder,
    left: AtomicUsize,
}

impl Target for Crashing {
    fn begin(&self, name: &str) -> Result<Box<dyn Write + Send>, ExportError> {
        self.folder.begin(name)
    }
    fn finish(&self, name: &str) -> Result<(), ExportError> {
        let counts = name.contains("part-");
        if counts && self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err() {
            return Err(ExportError::Encode("crash".into()));
        }
        self.folder.finish(name)
    }
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), ExportError> {
        self.folder.put(name, bytes)
    }
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, ExportError> {
        self.folder.read(name)
    }
    fn remove(&self, name: &str) -> Result<(), ExportError> {
        self.folder.remove(name)
    }
    fn names(&self) -> Result<Vec<String>, ExportError> {
        self.folder.names()
    }
    fn free(&self) -> Option<u64> {
        self.folder.free()
    }
    fn place(&self, name: &str) -> std::path::PathBuf {
        self.folder.place(name)
    }
    fn paths(&self, name: &str) -> Option<(std::path::PathBuf, std::path::PathBuf)> {
        self.folder.paths(name)
    }
}

#[tokio::test]
async fn files_of_every_format_hold_the_rows_of_the_query() {
    let world = World::new().await;
    let order = "flow_id, start_seconds, start_nanoseconds, start_inclusive DESC";
    let expected = world.rows(&format!("SELECT * FROM flow_segments ORDER BY {order}")).await;
    assert_eq!(expected.len(), 1_000);
    for format in ["parquet", "arrow", "jsonl", "csv"] {
        let wanted = request(json!({"table": "flow_segments", "format": format, "rows_per_file": ROWS_PER_FILE}));
        let manifest = world.export(format, &wanted).await;
        let target = world.target(format);
        assert_eq!((manifest.rows, manifest.files.len()), (1_000, 7), "{format}");
        assert!(manifest.columns.iter().any(|column| column.name == "timerange" && column.kind == "text"));
        let mut found = Vec::new();
        let mut csv = String::new();
        for file in &manifest.files {
            let bytes = target.read(&file.name).unwrap().unwrap();
            assert_eq!(bytes.len() as u64, file.bytes);
            use sha2::Digest;
            assert_eq!(crate::domain::hex(&sha2::Sha256::digest(&bytes)), file.sha256);
            match format {
                "parquet" => found.extend(parquet(&target, &file.name)),
                "arrow" => {
                    let reader = arrow::ipc::reader::FileReader::try_new(std::io::Cursor::new(bytes), None).unwrap();
                    found.extend(rows_of(&reader.collect::<Result<Vec<_>, _>>().unwrap()));
                }
                "jsonl" => found.extend(parsed(&bytes)),
                _ => {
                    let text = String::from_utf8(bytes).unwrap();
                    let (head, rows) = text.split_once('\n').unwrap();
                    assert!(head.starts_with("flow_id,start_seconds,"), "{head}");
                    csv.push_str(rows);
                }
            }
        }
        if format == "csv" {
            let ids: Vec<&str> = csv.lines().map(|line| line.split(',').next().unwrap()).collect();
            let wanted: Vec<&str> = expected.iter().map(|row| row["flow_id"].as_str().unwrap()).collect();
            assert_eq!(ids, wanted);
        } else {
            assert!(found == expected, "{format}");
        }
    }
    world.close().await;
}

#[tokio::test]
async fn a_database_has_the_rows_of_the_query_and_is_all_that_is_left() {
    let world = World::new().await;
    let wanted = request(json!({"table": "flow_segments", "format": "duckdb", "rows_per_file": ROWS_PER_FILE}));
    let manifest = world.export("out", &wanted).await;
    assert_eq!(manifest.files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), ["export.duckdb"]);
    assert_eq!(manifest.rows, 1_000);
    let database = duckdb::Connection::open(world.target("out").place("export.duckdb")).unwrap();
    let mut statement = database.prepare("SELECT timerange FROM flow_segments").unwrap();
    let found: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    let rows = world.rows("SELECT timerange FROM flow_segments ORDER BY flow_id, start_seconds").await;
    assert_eq!(found, rows.iter().map(|row| row["timerange"].as_str().unwrap()).collect::<Vec<_>>());
    world.close().await;
}

#[tokio::test]
async fn an_export_that_was_cut_short_ends_with_the_files_of_one_that_was_not() {
    let world = World::new().await;
    for (number, wanted) in [
        json!({"table": "flow_segments", "rows_per_file": ROWS_PER_FILE}),
        json!({"table": "flow_segments", "format": "arrow", "rows_per_file": ROWS_PER_FILE}),
        json!({"table": "objects", "format": "csv", "rows_per_file": ROWS_PER_FILE}),
        json!({"table": "flow_segments", "partition_by": "day", "rows_per_file": ROWS_PER_FILE}),
        json!({"sql": "SELECT object_id, duration_s FROM flow_segments ORDER BY 1", "rows_per_file": ROWS_PER_FILE}),
        json!({"sql": "SELECT object_id, now() > '2020-01-01' AS late FROM flow_segments ORDER BY 1", "rows_per_file": ROWS_PER_FILE}),
        json!({"sql": "SELECT object_id FROM flow_segments", "engine": "duckdb", "rows_per_file": ROWS_PER_FILE}),
    ]
    .into_iter()
    .enumerate()
    {
        let wanted = request(wanted);
        let undisturbed = world.export(&format!("whole-{number}"), &wanted).await;
        assert!(undisturbed.files.len() > 5, "{wanted:?}");
        for files in [0, 1, 4] {
            let folder = world.target(&format!("cut-{number}-{files}"));
            let crashing = Crashing { folder: folder.clone(), left: AtomicUsize::new(files) };
            let (_, outcome) = world.run(crashing, world.begin(&wanted).await).await;
            assert!(outcome.unwrap_err().to_string().contains("crash"), "{wanted:?}");
            // What a crash leaves is what the disk says.
            let left = Record::read(&folder).unwrap().unwrap();
            assert_eq!((left.job.state, left.files.len()), (JobState::Running, files), "{wanted:?}");
            let (record, outcome) = world.run(folder.clone(), left).await;
            outcome.unwrap();
            assert_eq!(hashes(&record.files), hashes(&undisturbed.files), "{wanted:?} after {files}");
            assert_eq!(Manifest::of(&record).files_sha256, undisturbed.files_sha256);
            assert_eq!(folder.names().unwrap().len(), record.files.len());
        }
    }
    world.close().await;
}

#[tokio::test]
async fn files_that_are_not_as_they_would_be_now_are_made_anew() {
    let world = World::new().await;
    let wanted = request(json!({"table": "flow_segments", "rows_per_file": ROWS_PER_FILE}));
    let undisturbed = world.export("whole", &wanted).await;
    let folder = world.target("cut");
    let crashing = Crashing { folder: folder.clone(), left: AtomicUsize::new(3) };
    world.run(crashing, world.begin(&wanted).await).await.1.unwrap_err();
    let mut left = Record::read(&folder).unwrap().unwrap();
    left.files[2].sha256 = "of another version".into();
    let (record, outcome) = world.run(folder, left).await;
    outcome.unwrap();
    assert_eq!(hashes(&record.files), hashes(&undisturbed.files));
    world.close().await;
}

#[tokio::test]
async fn maintenance_and_later_commits_do_not_change_the_export_of_a_state() {
    let world = World::new().await;
    let lsn = world.by_hand.catalog.snapshot().seq();
    let tables = ["flow_segments", "objects", "object_references", "object_instances", "flow_coverage", "flows"];
    let wanted = |table: &str| request(json!({"table": table, "as_of": lsn, "rows_per_file": ROWS_PER_FILE}));
    let mut before = Vec::new();
    for table in tables {
        before.push(world.export(&format!("{table}-1"), &wanted(table)).await.files);
    }
    world.register(SEGMENTS..SEGMENTS + 10).await;
    world.by_hand.flush().await;
    world.by_hand.checkpoint().await;
    world.by_hand.compact().await;
    assert!(world.by_hand.catalog.snapshot().seq() > lsn);
    for (table, before) in tables.into_iter().zip(before) {
        let after = world.export(&format!("{table}-2"), &wanted(table)).await;
        assert_eq!(hashes(&after.files), hashes(&before), "{table}");
        assert_eq!(after.lsn, lsn);
    }
    world.close().await;
}

#[tokio::test]
async fn large_tables_are_not_sorted() {
    let world = World::new().await;
    for table in ["flow_segments", "objects", "object_references", "object_instances"] {
        let plan = request(json!({"table": table})).plan().unwrap();
        let question = Question { export: true, ..Question::new(format!("EXPLAIN {}", plan.sql)) };
        let batches: Vec<RecordBatch> = world.sql.ask(question).await.unwrap().batches.try_collect().await.unwrap();
        let column = batches[0].column(1);
        let text: Vec<String> = (0..column.len()).map(|row| array_value_to_string(column, row).unwrap()).collect();
        assert!(text.iter().any(|plan| plan.contains("CatalogScan")), "{text:#?}");
        assert!(!text.iter().any(|plan| plan.contains("SortExec")), "{text:#?}");
    }
    world.close().await;
}

#[tokio::test]
async fn partitions_are_folders_that_say_what_their_files_leave_out() {
    let world = World::new().await;
    let wanted = request(json!({"table": "flow_segments", "partition_by": "day", "rows_per_file": 600}));
    let manifest = world.export("days", &wanted).await;
    let names: Vec<&str> = manifest.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "day=2023-11-14/part-00000.parquet",
            "day=2023-11-15/part-00000.parquet",
            "day=2023-11-15/part-00001.parquet",
            "day=2023-11-16/part-00000.parquet"
        ]
    );
    assert_eq!(manifest.rows, 1_000);
    let target = world.target("days");
    for file in &manifest.files {
        let day = &file.name[4..14];
        for row in parquet(&target, &file.name) {
            assert!(row["start_utc"].as_str().unwrap().starts_with(day) && row.get("day").is_none(), "{row}");
        }
    }
    let objects = request(json!({"table": "objects", "partition_by": ["day"], "format": "jsonl"}));
    let manifest = world.export("objects", &objects).await;
    assert_eq!(manifest.files.iter().map(|file| file.rows).collect::<Vec<_>>(), [500, 500]);
    let sql =
        "SELECT CASE WHEN n = 1 THEN 'a/b' WHEN n = 2 THEN '' END AS k, n FROM (VALUES (1), (2), (3), (1)) AS t(n)";
    let odd = request(json!({"sql": sql, "partition_by": "k", "format": "csv"}));
    let manifest = world.export("odd", &odd).await;
    let names: Vec<(&str, u64)> = manifest.files.iter().map(|file| (file.name.as_str(), file.rows)).collect();
    assert_eq!(
        names,
        [("k=/part-00000.csv", 1), ("k=a%2Fb/part-00000.csv", 2), ("k=__HIVE_DEFAULT_PARTITION__/part-00000.csv", 1)]
    );
    world.close().await;
}

#[tokio::test]
async fn an_answer_without_rows_is_a_file_without_rows() {
    let world = World::new().await;
    for format in ["parquet", "csv", "duckdb"] {
        let wanted = request(json!({"sql": "SELECT object_id FROM flow_segments WHERE false", "format": format}));
        let manifest = world.export(format, &wanted).await;
        assert_eq!((manifest.rows, manifest.files.len()), (0, 1), "{format}");
        assert_eq!(manifest.columns.len(), 1);
    }
    world.close().await;
}

#[tokio::test]
async fn questions_that_cannot_be_asked_are_refused_at_once() {
    let world = World::new().await;
    for (wanted, text) in [
        (json!({"sql": "SELECT nothing FROM flows"}), "nothing"),
        (json!({"sql": "DROP TABLE flows"}), "only queries are taken"),
        (json!({"sql": "SELEC 1", "engine": "duckdb"}), "syntax error"),
        (json!({"sql": "SELECT id FROM flows", "partition_by": "day"}), "day"),
        (json!({"sql": "SELECT id FROM flows", "partition_by": "id"}), "no column is left"),
        (json!({"table": "flows", "as_of": 1_000_000}), "there is no LSN 1000000 yet"),
    ] {
        let error = begin(&world.sql, &world.clock, request(wanted.clone()), "").await.unwrap_err().to_string();
        assert!(error.contains(text), "{wanted}: {error}");
    }
    world.close().await;
}

/// Has rows for years.
const ENDLESS: &str =
    "SELECT a.object_id FROM flow_segments a, flow_segments b, flow_segments c, flow_segments d, flow_segments e";

#[tokio::test]
async fn one_runs_and_others_wait_until_it_is_cancelled() {
    let world = World::new().await;
    let exports = world.exports();
    let first = exports.create(request(json!({"sql": ENDLESS, "rows_per_file": 20_000})), "me").await.unwrap();
    let second = exports.create(request(json!({"table": "flows"})), "me").await.unwrap();
    let third = exports.create(request(json!({"table": "sources"})), "you").await.unwrap();
    let running = exports.wait(&first.id, |job| job.progress.files > 1).await.unwrap();
    assert_eq!((running.state, running.caller.as_str()), (JobState::Running, "me"));
    assert_eq!(exports.get(&second.id).unwrap().state, JobState::Queued);
    assert!(matches!(exports.manifest(&second.id), Err(ExportError::NotDone { state: "queued", .. })));
    exports.remove(&second.id).await.unwrap().unwrap();
    exports.remove(&first.id).await.unwrap().unwrap();
    for id in [&first.id, &second.id] {
        let job = exports.wait(id, |job| job.state.is_over()).await.unwrap();
        assert_eq!((job.state, job.progress.files), (JobState::Cancelled, 0));
        assert!(Folder::new(&world.settings().dir.join(id)).unwrap().names().unwrap().is_empty());
    }
    assert_eq!(exports.wait(&third.id, |job| job.state.is_over()).await.unwrap().state, JobState::Done);
    assert!(exports.manifest(&third.id).unwrap().exists());
    assert!(exports.file(&third.id, "part-00000.parquet").unwrap().exists());
    assert!(exports.file(&third.id, "../job.json").is_err());
    assert_eq!(exports.remove(&third.id).await.unwrap(), None);
    assert!(matches!(exports.get(&third.id), Err(ExportError::NotFound(_))));
    assert!(!world.settings().dir.join(&third.id).exists());
    exports.close().await;
    world.close().await;
}

#[tokio::test]
async fn what_was_running_goes_on_when_the_server_starts_again() {
    let world = World::new().await;
    let exports = world.exports();
    let endless = exports.create(request(json!({"sql": ENDLESS, "rows_per_file": 20_000})), "").await.unwrap();
    let waiting = exports.create(request(json!({"table": "flow_segments", "rows_per_file": 100})), "").await.unwrap();
    exports.wait(&endless.id, |job| job.progress.files > 1).await.unwrap();
    exports.close().await;
    world.register(SEGMENTS..SEGMENTS + 10).await;
    let exports = world.exports();
    let job = exports.wait(&endless.id, |job| job.progress.files > 1).await.unwrap();
    assert_eq!(job.state, JobState::Running);
    exports.remove(&endless.id).await.unwrap();
    let done = exports.wait(&waiting.id, |job| job.state.is_over()).await.unwrap();
    assert_eq!((done.state, done.progress.rows), (JobState::Done, 1_000), "rows of when it was asked for");
    assert_eq!(done.lsn, waiting.lsn);
    exports.close().await;
    world.close().await;
}

#[tokio::test]
async fn exports_are_kept_for_a_time_and_in_so_much_space() {
    let world = World::new().await;
    let exports = world.exports();
    let old = exports.create(request(json!({"table": "flow_segments"})), "").await.unwrap();
    exports.wait(&old.id, |job| job.state == JobState::Done).await.unwrap();
    exports.close().await;
    world.clock.advance(Duration::from_secs(60 * 60));
    let exports = world.exports();
    assert_eq!(exports.get(&old.id).unwrap().state, JobState::Done);
    world.clock.advance(Duration::from_secs(1));
    exports.sweep();
    assert!(exports.list().is_empty());
    assert_eq!(std::fs::read_dir(world.settings().dir).unwrap().count(), 0);
    exports.close().await;

    let small = ExportSettings { space_bytes: 2_000, ..world.settings() };
    let exports = Exports::open(world.sql.clone(), world.clock.clone(), small).unwrap();
    let wanted = request(json!({"table": "flow_segments", "rows_per_file": 10}));
    let failing = exports.create(wanted.clone(), "").await.unwrap();
    let failed = exports.wait(&failing.id, |job| job.state.is_over()).await.unwrap();
    assert_eq!((failed.state, failed.progress.bytes), (JobState::Failed, 0));
    assert!(failed.error.unwrap().contains("query.exports_space"));
    exports.close().await;

    let full = ExportSettings { min_free_bytes: u64::MAX, ..world.settings() };
    let exports = Exports::open(world.sql.clone(), world.clock.clone(), full).unwrap();
    assert!(matches!(exports.create(wanted, "").await, Err(ExportError::NoSpace(_))));
    exports.close().await;
    world.close().await;
}

#[tokio::test]
async fn a_state_that_is_gone_is_said_so() {
    let world = World::new().await;
    let mut record = world.begin(&request(json!({"table": "flows"}))).await;
    record.job.lsn += 1_000;
    let (_, outcome) = world.run(world.target("out"), record).await;
    assert!(outcome.unwrap_err().to_string().starts_with("there is no LSN"));
    let answer = world.sql.ask(Question { as_of: Some(AsOf::Lsn(1)), ..Question::new("SELECT id FROM flows") }).await;
    assert!(answer.is_ok());
    world.close().await;
}
