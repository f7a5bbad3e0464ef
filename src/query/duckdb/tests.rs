use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int32Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use duckdb::arrow::array::AsArray;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::domain::{Bound, TimeRange, Timestamp};

const FLOWS: [&str; 3] = [
    "00000000-0000-4000-8000-000000000001",
    "00000000-0000-4000-8000-000000000002",
    "ffffffff-ffff-4fff-bfff-ffffffffffff",
];

#[derive(Debug, Clone)]
struct Segment {
    flow: usize,
    start: (i64, i32, bool),
    lsn: Lsn,
}

impl Segment {
    fn random(random: &mut StdRng) -> Self {
        let seconds = match random.random_range(0..10) {
            0 => -(1 << 48) + 1,
            1 => (1 << 48) - 1,
            _ => random.random_range(-3..4),
        };
        Self {
            flow: random.random_range(0..FLOWS.len()),
            start: (seconds, random.random_range(0..2) * 999_999_999, random.random()),
            lsn: random_lsn(random),
        }
    }

    fn start_key(&self) -> i128 {
        let (seconds, nanoseconds, inclusive) = self.start;
        let at = Timestamp::from_parts(seconds, nanoseconds).unwrap();
        TimeRange::new(Some(Bound { at, inclusive }), None).start_key()
    }

    fn text(&self) -> String {
        let Self { flow, start: (seconds, nanoseconds, inclusive), lsn } = self;
        format!("{} {seconds} {nanoseconds} {inclusive} {} {}", FLOWS[*flow], lsn.seq, lsn.index)
    }
}

fn random_lsn(random: &mut StdRng) -> Lsn {
    Lsn { seq: random.random_range(1..5), index: [0, 1, u32::MAX][random.random_range(0..3)] }
}

fn segments(rows: &[Segment]) -> RecordBatch {
    batch(vec![
        ("flow_id", Arc::new(StringArray::from_iter_values(rows.iter().map(|row| FLOWS[row.flow])))),
        ("start_seconds", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.start.0)))),
        ("start_nanoseconds", Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.start.1)))),
        ("start_inclusive", Arc::new(BooleanArray::from_iter(rows.iter().map(|row| Some(row.start.2))))),
        ("lsn_seq", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.lsn.seq.cast_signed())))),
        ("lsn_index", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| i64::from(row.lsn.index))))),
    ])
}

#[derive(Debug, Clone)]
struct Object {
    id: String,
    deleted: Option<bool>,
    lsn: Lsn,
}

fn objects(rows: &[Object]) -> RecordBatch {
    batch(vec![
        ("id", Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.id)))),
        ("deleted", Arc::new(BooleanArray::from_iter(rows.iter().map(|row| row.deleted)))),
        ("lsn_seq", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.lsn.seq.cast_signed())))),
        ("lsn_index", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| i64::from(row.lsn.index))))),
    ])
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

/// A folder with Parquet files and databases over them.
struct Files {
    folder: tempfile::TempDir,
    count: usize,
}

impl Files {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), count: 0 }
    }

    fn write(&mut self, batch: &RecordBatch) -> PathBuf {
        self.count += 1;
        let path = self.folder.path().join(format!("it's {}.parquet", self.count));
        let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), None).unwrap();
        writer.write(batch).unwrap();
        writer.close().unwrap();
        path
    }

    fn open(&self, tables: &[DuckTable]) -> Result<Duck, DuckError> {
        let scratch = self.folder.path().join("scratch");
        let settings = DuckSettings { threads: 2, memory_bytes: 256 << 20, scratch, scratch_bytes: 1 << 30 };
        Duck::open(&settings, tables, &[])
    }
}

fn table(name: &str, files: Vec<PathBuf>, hot: RecordBatch, shows: Shows) -> DuckTable {
    DuckTable { name: name.into(), files, hot, shows }
}

/// The first column of the answer, which must be text.
fn texts(duck: &Duck, sql: &str) -> Vec<String> {
    let batches = duck.query(sql).unwrap();
    batches
        .iter()
        .flat_map(|batch| batch.column(0).as_string::<i32>().iter().map(|text| text.unwrap().to_owned()))
        .collect()
}

fn count(duck: &Duck, sql: &str) -> usize {
    duck.query(sql).unwrap().iter().map(DuckBatch::num_rows).sum()
}

#[test]
fn segments_are_those_that_no_tombstone_hides() {
    for seed in 0..30 {
        let random = &mut StdRng::seed_from_u64(seed);
        let mut files = Files::new();
        let mut rows = |most: usize| {
            let rows = random.random_range(0..=most);
            (0..rows).map(|_| Segment::random(random)).collect::<Vec<_>>()
        };
        let (first, second, hot) = (rows(30), rows(30), rows(5));
        let tombstones: Vec<_> = (0..random.random_range(0..6))
            .map(|_| {
                let (one, two) = (Segment::random(random), Segment::random(random));
                let ends = if random.random_range(0..4) == 0 {
                    TimeRange::ETERNITY.start_key()..TimeRange::ETERNITY.end_key()
                } else {
                    one.start_key()..two.start_key()
                };
                Tombstone { flow_id: FLOWS[one.flow].parse().unwrap(), starts: ends, lsn: random_lsn(random) }
            })
            .collect();

        let hidden = |row: &Segment| {
            tombstones.iter().any(|tombstone| {
                tombstone.flow_id.to_string() == FLOWS[row.flow]
                    && tombstone.starts.contains(&row.start_key())
                    && row.lsn < tombstone.lsn
            })
        };
        let mut expected: Vec<_> =
            first.iter().chain(&second).filter(|row| !hidden(row)).chain(&hot).map(Segment::text).collect();
        expected.sort();

        let paths = [&first, &second].map(|rows| files.write(&segments(rows))).to_vec();
        let shows = Shows::NotDeleted(tombstones.clone());
        let duck = files.open(&[table("flow_segments", paths, segments(&hot), shows)]).unwrap();
        let mut found = texts(
            &duck,
            "SELECT concat_ws(' ', flow_id, start_seconds, start_nanoseconds, start_inclusive, lsn_seq, lsn_index) \
             FROM flow_segments",
        );
        found.sort();
        assert_eq!(found, expected, "seed {seed}: {tombstones:?}");
    }
}

#[test]
fn objects_are_the_newest_rows_that_do_not_say_deleted() {
    for seed in 0..30 {
        let random = &mut StdRng::seed_from_u64(seed);
        let mut files = Files::new();
        // Runs from the oldest to the newest: what is settled holds no id twice and nothing that is newer.
        let mut seq = 0;
        let runs: Vec<Vec<Object>> = (0..4)
            .map(|_| {
                seq += 1;
                let mut run = BTreeMap::new();
                for index in 0..random.random_range(0..12) {
                    let id = format!("object {}", random.random_range(0..20));
                    let deleted = [None, Some(false), Some(true)][random.random_range(0..3)];
                    run.insert(id.clone(), Object { id, deleted, lsn: Lsn { seq, index } });
                }
                run.into_values().collect()
            })
            .collect();
        let (hot, stored) = runs.split_last().unwrap();

        let mut newest = BTreeMap::new();
        for row in runs.iter().flatten() {
            newest.insert(&row.id, row);
        }
        let shown = newest.values().filter(|row| row.deleted != Some(true));
        let expected: Vec<_> = shown.map(|row| format!("{} {}", row.id, row.lsn.seq)).collect();

        let paths: Vec<_> = stored.iter().map(|run| files.write(&objects(run))).collect();
        for settled in 0..=1 {
            for backwards in [false, true] {
                let mut paths = paths.clone();
                if backwards {
                    paths[settled..].reverse(); // the order of the others says nothing
                }
                let duck = files.open(&[table("objects", paths, objects(hot), Shows::Newest { settled })]).unwrap();
                let mut found = texts(&duck, "SELECT concat_ws(' ', id, lsn_seq) FROM objects");
                found.sort();
                assert_eq!(found, expected, "seed {seed}, {settled} settled");
            }
        }
    }
}

#[test]
fn objects_that_are_all_settled_are_not_compared() {
    let mut files = Files::new();
    let row = |id: &str, deleted| Object { id: id.into(), deleted, lsn: Lsn { seq: 1, index: 0 } };
    let path = files.write(&objects(&[row("a", None), row("b", Some(true))]));
    let all_settled = table("objects", vec![path], objects(&[]), Shows::Newest { settled: 1 });
    let duck = files.open(std::slice::from_ref(&all_settled)).unwrap();
    assert_eq!(texts(&duck, "SELECT id FROM objects"), ["a"]);
    let sql = view(&all_settled).unwrap();
    assert!(!sql.contains("JOIN") && !sql.contains("OVER"), "{sql}");
}

#[test]
fn a_column_that_came_later_is_null_in_older_rows() {
    let mut files = Files::new();
    let old = files.write(&segments(&[Segment { flow: 0, start: (1, 0, true), lsn: Lsn { seq: 1, index: 0 } }]));
    let hot = segments(&[Segment { flow: 1, start: (1, 0, true), lsn: Lsn { seq: 2, index: 0 } }]);
    let mut fields = hot.schema().fields().to_vec();
    fields.push(Arc::new(Field::new("init_object", DataType::Utf8, true)));
    let mut columns = hot.columns().to_vec();
    columns.push(Arc::new(StringArray::from(vec!["init"])));
    let hot = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    let duck = files.open(&[table("flow_segments", vec![old], hot, Shows::NotDeleted(vec![]))]).unwrap();
    assert_eq!(texts(&duck, "SELECT coalesce(init_object, 'none') t FROM flow_segments ORDER BY t"), ["init", "none"]);
}

#[test]
fn tables_without_rows_have_their_columns() {
    let files = Files::new();
    let tables = [
        table("flow_segments", vec![], segments(&[]), Shows::NotDeleted(vec![])),
        table("objects", vec![], objects(&[]), Shows::Newest { settled: 0 }),
    ];
    let duck = files.open(&tables).unwrap();
    assert_eq!(texts(&duck, "SELECT column_name FROM (DESCRIBE objects)"), ["id", "deleted", "lsn_seq", "lsn_index"]);
    assert_eq!(count(&duck, "FROM flow_segments"), 0);
}

#[test]
fn a_query_reaches_no_other_file_and_changes_nothing() {
    let mut files = Files::new();
    let row = Segment { flow: 0, start: (1, 0, true), lsn: Lsn { seq: 1, index: 0 } };
    let (mine, other) = (files.write(&segments(std::slice::from_ref(&row))), files.write(&segments(&[row])));
    let before = std::fs::read(&mine).unwrap();
    let empty = segments(&[]);
    let tables = [table("flow_segments", vec![mine.clone()], empty, Shows::NotDeleted(vec![]))];
    let duck = files.open(&tables).unwrap();
    let (mine_sql, other_sql) = (literal(&mine).unwrap(), literal(&other).unwrap());

    for file in [&mine_sql, &other_sql, "'/etc/passwd'", "'https://localhost/x.parquet'"] {
        for sql in [format!("FROM {file}"), format!("SELECT (SELECT count(*) FROM {file})"), format!("DESCRIBE {file}")]
        {
            assert!(matches!(duck.query(&sql), Err(DuckError::File(_))), "{sql}");
        }
        for sql in [
            format!("FROM read_parquet({file})"),
            format!("FROM flow_segments, LATERAL (FROM READ_BLOB({file}))"),
            format!("WITH x AS (FROM read_text({file})) SELECT 1 WHERE 1 IN (FROM x)"),
        ] {
            assert!(matches!(duck.query(&sql), Err(DuckError::TableFunction(_))), "{sql}");
        }
    }
    for sql in ["FROM query('FROM read_text(''/etc/passwd'')')", "FROM enable_logging()", "FROM duckdb_settings()"] {
        assert!(matches!(duck.query(sql), Err(DuckError::TableFunction(_))), "{sql}");
    }
    // Should that ever let one through, DuckDB's own lock stands for what is not in the snapshot.
    for sql in [format!("FROM {other_sql}"), format!("FROM read_blob({other_sql})"), "FROM glob('/**')".into()] {
        assert!(duck.connect().unwrap().execute_batch(&sql).is_err(), "{sql}");
    }
    for sql in [
        format!("COPY (SELECT 1) TO {mine_sql} (FORMAT parquet, USE_TMP_FILE false)"),
        format!("SELECT 1; COPY (SELECT 1) TO {mine_sql} (FORMAT parquet, USE_TMP_FILE false); SELECT 1"),
        "SELECT 1; SELECT 2".into(),
        "SET threads = 4".into(),
        "SET enable_external_access = true".into(),
        "CREATE TABLE mine (i INT)".into(),
        "DROP VIEW flow_segments".into(),
        "DELETE FROM parts.hot_flow_segments".into(),
        "ATTACH '/tmp/x.db'".into(),
        "INSTALL httpfs".into(),
        "LOAD httpfs".into(),
        "CALL enable_logging()".into(),
        "PRAGMA database_list".into(),
        String::new(),
        " -- nothing".into(),
    ] {
        assert!(matches!(duck.query(&sql), Err(DuckError::NotOneSelect)), "{sql}");
    }
    assert!(matches!(duck.query("SELEC 1"), Err(DuckError::Duck(_))));
    assert!(matches!(duck.query("SELECT missing FROM flow_segments"), Err(DuckError::Duck(_))));
    for sql in ["SET threads = 4", "LOAD httpfs", "INSTALL httpfs", "ATTACH '/tmp/x.db'"] {
        assert!(duck.connect().unwrap().execute_batch(sql).is_err(), "{sql}");
    }
    for sql in [
        "WITH x AS (FROM flow_segments) SELECT * FROM x;",
        "SELECT '/etc/passwd', flow_id FROM flow_segments, range(1), unnest([1])",
        "SELECT {'function': {'function_name': 'glob'}}",
    ] {
        assert_eq!(count(&duck, sql), 1, "{sql}");
    }
    assert_eq!(std::fs::read(&mine).unwrap(), before);
}

#[test]
fn paths_that_duckdb_would_read_otherwise_are_refused() {
    let files = Files::new();
    for path in ["relative.parquet", "/data/*.parquet", "/data/[a]/x.parquet", "s3://bucket/x.parquet"] {
        let tables = [table("flow_segments", vec![path.into()], segments(&[]), Shows::NotDeleted(vec![]))];
        assert!(matches!(files.open(&tables), Err(DuckError::Path { .. })), "{path}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let files = Files::new();
    let tables = [table("flow_segments", vec!["/nowhere/x.parquet".into()], segments(&[]), Shows::NotDeleted(vec![]))];
    let error = files.open(&tables).err().unwrap().to_string();
    assert!(error.contains("/nowhere/x.parquet"), "{error}");
}

#[test]
fn a_database_leaves_nothing_behind() {
    let mut files = Files::new();
    let row = Segment { flow: 0, start: (1, 0, true), lsn: Lsn { seq: 1, index: 0 } };
    let path = files.write(&segments(std::slice::from_ref(&row)));
    let tables = [table("flow_segments", vec![path], segments(&[row]), Shows::NotDeleted(vec![]))];
    let duck = files.open(&tables).unwrap();
    assert_eq!(count(&duck, "FROM flow_segments"), 2);
    drop(duck);
    assert_eq!(std::fs::read_dir(files.folder.path().join("scratch")).unwrap().count(), 0);
}

#[test]
fn the_library_is_the_one_that_the_bindings_are_made_for() {
    let files = Files::new();
    let duck = files.open(&[]).unwrap();
    assert_eq!(texts(&duck, "SELECT version()"), ["v1.5.5"]);
}
