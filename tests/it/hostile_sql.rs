//! Hostile SQL, over HTTP and on the command line. Those over PostgreSQL's protocol and Flight SQL are beside them.

use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tamslake::clock::Clock;
use tamslake::config::{Size, Span};

use crate::helpers::{TestApp, binary, synth};
use crate::sql::{ENGINES, rows, sql, with_segments};

/// Statements that would do more than read, or get at more than the catalogue.
const FORBIDDEN: &[&str] = &[
    "COPY (SELECT 1) TO '/tmp/tamslake-copied.csv'",
    "COPY flows FROM '/etc/passwd'",
    "COPY flows TO '/tmp/tamslake-copied.parquet'",
    "ATTACH '/tmp/tamslake-attached.db' AS x",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_blob('/etc/passwd')",
    "SELECT * FROM read_parquet('/etc/passwd')",
    "SELECT * FROM glob('/etc/*')",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM 'passwd.csv'",
    "FROM '/etc/passwd'",
    "SELECT * FROM sniff_csv('/etc/passwd')",
    "SELECT * FROM query('SELECT 1')",
    "SELECT * FROM duckdb_secrets()",
    "SELECT getenv('HOME')",
    "SET memory_limit = '100GB'",
    "SET datafusion.execution.target_partitions = 64",
    "RESET memory_limit",
    "PRAGMA database_list",
    "PRAGMA enable_profiling",
    "CALL pragma_version()",
    "CREATE EXTERNAL TABLE p STORED AS CSV LOCATION '/etc/passwd'",
    "CREATE TABLE t AS SELECT 1",
    "CREATE VIEW v AS SELECT 1",
    "CREATE FUNCTION f(DOUBLE) RETURNS DOUBLE RETURN $1",
    "CREATE MACRO m(a) AS a",
    "INSERT INTO flows SELECT * FROM flows",
    "INSERT INTO raw.flows SELECT * FROM raw.flows",
    "UPDATE flows SET label = 'x'",
    "DELETE FROM flow_segments",
    "DROP TABLE flow_segments",
    "DROP VIEW flows",
    "TRUNCATE flows",
    "ALTER TABLE flows ADD COLUMN x INT",
    "EXPORT DATABASE '/tmp/tamslake-exported'",
    "IMPORT DATABASE '/tmp/tamslake-exported'",
    "CHECKPOINT",
    "VACUUM",
    "BEGIN TRANSACTION",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "SELECT 1; DROP TABLE flows",
    "SELECT 1; SELECT 2",
    "SELECT * INTO t FROM flows",
    "SELECT * FROM webhooks WHERE api_key_value IS NOT NULL",
    "SELECT * FROM raw.webhooks WHERE api_key_value IS NOT NULL",
    "",
    ";",
    "\0",
    "SELECT",
];

/// Where they would have put it.
fn assert_nothing_was_written() {
    for path in ["/tmp/tamslake-copied.csv", "/tmp/tamslake-copied.parquet", "/tmp/tamslake-attached.db"] {
        assert!(!Path::new(path).exists(), "{path}");
    }
}

/// Queries that only read, and much more than there is room or time for.
fn bombs() -> Vec<(&'static str, String)> {
    let parentheses = format!("SELECT {}1{}", "(".repeat(500_000), ")".repeat(500_000));
    let deep = format!("SELECT {}1{}", "(".repeat(60_000), ")".repeat(60_000));
    let sum = format!("SELECT 1{}", "+1".repeat(50_000));
    let unions = format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(5_000));
    let ors = format!("SELECT * FROM flows WHERE id = 'x'{}", " OR label = 'y'".repeat(5_000));
    vec![
        ("1 MB of parentheses", parentheses),
        ("120 KB of parentheses", deep),
        ("a long sum", sum),
        ("many unions", unions),
        ("many ors", ors),
        (
            "a recursion without an end",
            "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT sum(n) FROM r".into(),
        ),
        (
            "a recursion that doubles",
            "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n FROM r, (VALUES (1), (2)) v(x)) SELECT count(*) FROM r".into(),
        ),
        (
            "a cross join to count",
            "SELECT count(*) FROM generate_series(1, 1000000) a(x), generate_series(1, 1000000) b(y) WHERE a.x + b.y = 7".into(),
        ),
        (
            "a cross join to read",
            "SELECT a.x, b.y FROM generate_series(1, 100000) a(x), generate_series(1, 100000) b(y)".into(),
        ),
        ("rows without an end", "SELECT * FROM generate_series(1, 100000000)".into()),
        (
            "a sort that does not fit",
            "SELECT x, repeat('x', 1000) AS t FROM generate_series(1, 10000000) a(x) ORDER BY t, x DESC".into(),
        ),
        ("a text that does not fit", "SELECT length(repeat(repeat('x', 100000), 100000))".into()),
        (
            "groups that do not fit",
            "SELECT count(*) FROM (SELECT x, count(*) FROM generate_series(1, 50000000) a(x) GROUP BY x)".into(),
        ),
    ]
}

#[tokio::test]
async fn nothing_but_a_query_of_the_catalogue_is_run() {
    let app = TestApp::start().await;
    with_segments(&app).await;
    let before = app.client.everything().await;
    for engine in ENGINES {
        for statement in FORBIDDEN {
            let answer = sql(&app.client, engine, statement).await;
            let status = answer.status.as_u16();
            assert!((400..500).contains(&status), "{engine} answered {status} to {statement:?}: {}", answer.json);
            assert!(!answer.json["summary"].as_str().unwrap().is_empty());
            assert!(!answer.json.to_string().contains("root:"), "{statement}");
        }
    }
    assert_nothing_was_written();
    assert_eq!(app.client.everything().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_is_too_much_is_stopped_at_its_limits_and_the_server_goes_on() {
    let limits = |config: &mut tamslake::config::Config| {
        config.query.timeout = Span(Duration::from_secs(2));
        config.query.memory = Size(64 << 20);
        config.query.scratch = Size(16 << 20);
        config.query.max_rows = 10_000;
    };
    let app = TestApp::with(limits, Clock::system()).await;
    with_segments(&app).await;
    for engine in ENGINES {
        for (what, bomb) in &bombs() {
            let asking = async {
                let request = reqwest::Client::new().post(app.client.url(&format!("/sql?engine={engine}")));
                let body = json!({ "sql": bomb }).to_string();
                let response = request.header("content-type", "application/json").body(body).send().await.unwrap();
                // What has begun to answer can only break off.
                (response.status().as_u16(), response.text().await.unwrap_or_else(|_| "broken off".into()))
            };
            // It may be answered where it is no bomb for this engine; what it may not do is hang or take the server along.
            let answer = tokio::time::timeout(Duration::from_secs(60), asking).await;
            let (status, text) = answer.unwrap_or_else(|_| panic!("{engine} hangs at {what}"));
            let shown = text.get(..300).unwrap_or(&text);
            assert!(status == 200 || (400..500).contains(&status), "{engine} {what}: {status} {shown}");
            assert_eq!(
                rows(&app.client, engine, "SELECT count(*) AS n FROM flows").await,
                json!([{ "n": 1 }]),
                "{what}"
            );
        }
    }
    app.client.register(1, "after", "[100:0_101:0)").await;
}

/// `tamslake sql`, with a query from its standard input, and small limits.
fn ask(data: &Path, engine: &str, query: &str) -> Output {
    let mut command = binary();
    command.args(["sql", "-", "--format", "json", "--engine", engine, "--data-dir"]).arg(data);
    command.env("TAMSLAKE__QUERY__TIMEOUT", "2s").env("TAMSLAKE__QUERY__MAX_ROWS", "10000");
    command.env("TAMSLAKE__QUERY__MEMORY", "64 MiB").env("TAMSLAKE__QUERY__SCRATCH", "16 MiB");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut asked = command.spawn().unwrap();
    // It may have seen enough before it read all.
    let _ = asked.stdin.take().unwrap().write_all(query.as_bytes());
    asked.wait_with_output().unwrap()
}

#[test]
fn a_command_line_runs_nothing_but_a_query_either() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    synth(&data, 10, 300);
    let count = |engine| {
        let counted = ask(&data, engine, "SELECT count(*) AS n FROM flow_segments");
        serde_json::from_slice::<Value>(&counted.stdout).unwrap()["rows"][0]["n"].clone()
    };
    for engine in ENGINES {
        for statement in FORBIDDEN {
            let answer = ask(&data, engine, statement);
            let (out, said) = (String::from_utf8_lossy(&answer.stdout), String::from_utf8_lossy(&answer.stderr));
            assert_eq!(answer.status.code(), Some(1), "{engine} {statement:?}: {out} {said}");
            assert!(out.is_empty() && !said.trim().is_empty(), "{engine} {statement:?}: {out} {said}");
            assert!(!said.contains("root:") && !said.contains("panicked"), "{engine} {statement:?}: {said}");
        }
        assert_eq!(count(engine), 300);
    }
    assert_nothing_was_written();
}

#[test]
fn a_command_line_that_asks_for_too_much_ends_with_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    synth(&data, 10, 300);
    for engine in ENGINES {
        for (what, bomb) in bombs() {
            let answer = ask(&data, engine, &bomb);
            let said = String::from_utf8_lossy(&answer.stderr);
            let shown = said.get(..300).unwrap_or(&said);
            // Where it is no bomb for this engine, it has an answer. A signal or a panic is neither.
            assert!(matches!(answer.status.code(), Some(0 | 1)), "{engine} {what}: {:?} {shown}", answer.status);
            assert_eq!(answer.status.success(), said.trim().is_empty(), "{engine} {what}: {shown}");
        }
    }
}
