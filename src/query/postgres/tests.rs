//! A real client against the real server. `psql` and the tools of docs are tried by hand.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, NoTls, SimpleQueryMessage};

use super::*;
use crate::query::SqlSettings;
use crate::query::front_tests::{ENDLESS, World};

struct Served {
    world: World,
    port: u16,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

async fn served() -> Served {
    served_with(|_| {}, 10).await
}

async fn served_with(change: impl FnOnce(&mut SqlSettings), max_connections: usize) -> Served {
    let world = World::with(change).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (stop, stopped) = oneshot::channel();
    let settings = PostgresSettings { max_connections, grace: Duration::from_secs(30) };
    let serving = tokio::spawn(serve(world.sql.clone(), listener, settings, async {
        let _ = stopped.await;
    }));
    Served { world, port, stop, serving }
}

impl Served {
    fn config(&self) -> String {
        format!("host=127.0.0.1 port={} user=me dbname=tamslake", self.port)
    }

    async fn try_connect(&self) -> Result<Client, Error> {
        let (client, connection) = tokio_postgres::connect(&self.config(), NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    async fn connect(&self) -> Client {
        self.try_connect().await.unwrap()
    }
}

async fn texts(client: &Client, sql: &str) -> Vec<String> {
    let messages = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("null").to_owned()),
        _ => None,
    });
    rows.collect()
}

fn code(error: &Error) -> &str {
    error.code().unwrap_or_else(|| panic!("{error:?}")).code()
}

async fn refusal(client: &Client, sql: &str) -> String {
    let error = client.simple_query(sql).await.map(|_| ()).unwrap_err();
    let shown: String = sql.chars().take(60).collect();
    code(&error).to_owned() + " " + error.as_db_error().map_or(&shown, |error| error.message())
}

#[tokio::test]
async fn a_query_shows_rows_and_types() {
    let served = served().await;
    let client = served.connect().await;
    assert_eq!(texts(&client, "SELECT label FROM flows").await, ["flow 1"]);
    let row = client
        .query_one(
            "SELECT label, 1::bigint AS n, 1.5::double AS d, true AS t, CAST('2026-01-02T03:04:05' AS TIMESTAMP) AS at, \
             NULL AS nothing, [1, 2] AS list, named_struct('a', 1) AS nested, CAST(1.25 AS DECIMAL(10, 2)) AS exact \
             FROM flows",
            &[],
        )
        .await
        .unwrap();
    let types: Vec<_> = row.columns().iter().map(|column| column.type_().clone()).collect();
    let expected = [
        Type::TEXT,
        Type::INT8,
        Type::FLOAT8,
        Type::BOOL,
        Type::TIMESTAMP,
        Type::TEXT,
        Type::INT8_ARRAY,
        Type::TEXT,
        Type::NUMERIC,
    ];
    assert_eq!(types, expected);
    assert_eq!((row.get::<_, &str>(0), row.get::<_, i64>(1), row.get::<_, f64>(2)), ("flow 1", 1, 1.5));
    assert!(row.get::<_, bool>(3));
    assert_eq!(row.get::<_, chrono::NaiveDateTime>(4).to_string(), "2026-01-02 03:04:05");
    assert_eq!(row.get::<_, Option<&str>>(5), None);
    assert_eq!(row.get::<_, Vec<i64>>(6), [1, 2]);
    assert_eq!(row.get::<_, &str>(7), r#"{"a":1}"#);
    for table in
        texts(&client, "SELECT DISTINCT table_name FROM information_schema.tables WHERE table_schema = 'public'").await
    {
        client.query(&format!("SELECT * FROM {table}"), &[]).await.unwrap_or_else(|error| panic!("{table}: {error:?}"));
        client.simple_query(&format!("SELECT * FROM {table}")).await.unwrap();
    }
}

#[tokio::test]
async fn a_prepared_statement_takes_parameters_and_sees_what_is_new() {
    let served = served().await;
    let client = served.connect().await;
    let statement = client.prepare("SELECT count(*), $2 FROM flows WHERE label <> $1 LIMIT $3").await.unwrap();
    assert_eq!(statement.params(), [Type::TEXT, Type::TEXT, Type::INT8]);
    assert_eq!(statement.columns()[0].type_(), &Type::INT8);
    let count = async || client.query_one(&statement, &[&"none", &"x", &1_i64]).await.unwrap().get::<_, i64>(0);
    assert_eq!(count().await, 1);
    served.world.put_flow(2).await;
    assert_eq!(count().await, 2, "planned anew");
    // What the client says its values are.
    let statement = client.prepare_typed("SELECT $1 + 1, $2 IS NULL", &[Type::INT4, Type::FLOAT8]).await.unwrap();
    let row = client.query_one(&statement, &[&41_i32, &None::<f64>]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, bool>(1)), (42, true));
}

#[tokio::test]
async fn rows_are_fetched_in_parts_inside_a_transaction() {
    let served = served().await;
    let mut client = served.connect().await;
    let transaction = client.transaction().await.unwrap();
    let portal = transaction.bind("SELECT * FROM generate_series(1, 10)", &[]).await.unwrap();
    let mut values = Vec::new();
    for expected in [4, 4, 2, 0] {
        let rows = transaction.query_portal(&portal, 4).await.unwrap();
        assert_eq!(rows.len(), expected);
        values.extend(rows.iter().map(|row| row.get::<_, i64>(0)));
    }
    assert_eq!(values, (1..=10).collect::<Vec<_>>());
    transaction.commit().await.unwrap();
    assert_eq!(texts(&client, "SELECT 1").await, ["1"]);
}

#[tokio::test]
async fn an_answer_larger_than_memory_is_streamed() {
    let served = served().await;
    let client = served.connect().await;
    let rows = client.query_raw("SELECT * FROM generate_series(1, 2000000)", Vec::<String>::new()).await.unwrap();
    let sum = rows.try_fold(0, async |sum, row| Ok(sum + row.get::<_, i64>(0))).await.unwrap();
    assert_eq!(sum, 2_000_000 * 2_000_001 / 2);
    assert_eq!(refusal(&client, "SELECT * FROM generate_series(1, 4000000)").await[..5], *"54000");
}

#[tokio::test]
async fn an_earlier_state_can_be_asked() {
    let served = served().await;
    let first = served.world.state().seq();
    let second = served.world.put_flow(2).await;
    let client = served.connect().await;
    let counts =
        format!("SELECT count(*) FROM flows AS OF LSN {first}; SELECT count(*) FROM flows AS OF LSN {second};");
    assert_eq!(texts(&client, &counts).await, ["1", "2"]);
    let row = client.query_one(&format!("SELECT count(*) FROM flows AS OF LSN {first}"), &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 1);
    let system = format!("SELECT count(*), current_schema() FROM flows AS OF LSN {first}");
    assert_eq!(texts(&client, &system).await, ["1"], "rewritten for PostgreSQL's functions");
    assert_eq!(refusal(&client, "SELECT 1 AS OF LSN 999").await[..5], *"22023");
}

#[tokio::test]
async fn whatever_is_no_query_is_refused_and_nothing_of_it_runs() {
    let served = served().await;
    let client = served.connect().await;
    let file = served.world.path("x");
    for (sql, expected) in [
        (format!("COPY flows TO '{}'", file.display()), "25006"),
        (format!("COPY (SELECT 1) TO '{}' STORED AS CSV", file.display()), "25006"),
        ("COPY flows FROM STDIN".into(), "25006"),
        (format!("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '{}'", file.display()), "25006"),
        ("CREATE TABLE t AS SELECT 1".into(), "25006"),
        ("INSERT INTO raw.flows VALUES (1)".into(), "25006"),
        ("DELETE FROM flows".into(), "25006"),
        ("DROP TABLE flows".into(), "25006"),
        ("SELECT 1; DROP TABLE flows".into(), "25006"),
        ("SELECT 1 INTO t".into(), "25006"),
        (format!("EXPLAIN ANALYZE COPY (SELECT 1) TO '{}' STORED AS CSV", file.display()), "25006"),
        ("WITH x AS (SELECT 1) INSERT INTO flows SELECT * FROM x".into(), "0A000"),
        ("SET datafusion.execution.batch_size = 1".into(), "42501"),
        ("SET LOCAL datafusion.catalog.information_schema = false".into(), "42501"),
        ("PREPARE p AS SELECT 1".into(), "0A000"),
        ("SELECT 1 FROM".into(), "42601"),
        ("SELECT * FROM nowhere".into(), "42P01"),
        ("SELECT nothing FROM flows".into(), "42703"),
        ("SELECT nofunction(1)".into(), "42883"),
        ("SELECT 1 / (SELECT 0)".into(), "22012"),
        (format!("SELECT * FROM '{}'", file.display()), "42P01"),
        ("nonsense".into(), "42601"),
    ] {
        let refused = refusal(&client, &sql).await;
        assert_eq!(refused[..5], *expected, "{sql}: {refused}");
        let prepared = client.prepare(&sql).await;
        if expected != "22012" {
            let error = prepared.map(|_| ()).unwrap_err();
            assert!([expected, "42601"].contains(&code(&error)), "{sql}, prepared: {error:?}");
        }
    }
    assert!(!file.exists());
    let large = "SHOW datafusion.execution.batch_size";
    assert_eq!(refusal(&client, large).await[..5], *"42704", "{large}");
    assert_eq!(texts(&client, "SELECT count(*) FROM flows").await, ["1"]);
}

#[tokio::test]
async fn bombs_do_not_go_off() {
    let served = served_with(|settings| settings.timeout = Duration::from_millis(500), 10).await;
    let client = served.connect().await;
    let parentheses = format!("SELECT {}1{}", "(".repeat(500_000), ")".repeat(500_000));
    assert_eq!(refusal(&client, &parentheses).await[..5], *"54000");
    let parentheses = format!("SELECT {}1{}", "(".repeat(100_000), ")".repeat(100_000));
    assert_eq!(refusal(&client, &parentheses).await[..5], *"42601");
    for bomb in [
        ENDLESS,
        "SELECT count(*) FROM generate_series(1, 1000000000) a, generate_series(1, 1000000000) b WHERE a.value + b.value < 0",
        "SELECT pg_backend_pid(), count(*) FROM generate_series(1, 100000000000) a WHERE a.value < 0",
    ] {
        let refused = refusal(&client, bomb).await;
        assert!(refused.starts_with("57014") || refused.starts_with("53200"), "{bomb}: {refused}");
    }
    // Deep when they are read, though they look flat; with PostgreSQL's words they are rewritten first.
    for piece in ["+ 1 ", "OR label = 'pg_' ", "::int ", "::regclass ", "UNION ALL SELECT 1 ", "|| version() "] {
        let deep = format!("SELECT 1 {}", piece.repeat(200_000 / piece.len()));
        assert_eq!(refusal(&client, &deep).await[..5], *"42601", "{piece}");
        let deep = format!("SELECT 1 {}", piece.repeat(60_000 / piece.len()));
        assert_eq!(refusal(&client, &deep).await[..5], *"42601", "{piece}");
    }
    assert_eq!(texts(&client, "SELECT 1").await, ["1"]);
}

#[tokio::test]
async fn a_query_ends_when_it_is_cancelled() {
    let served = served().await;
    for extended in [false, true] {
        let client = served.connect().await;
        let cancel = client.cancel_token();
        let mut query = std::pin::pin!(async {
            if extended {
                client.query(ENDLESS, &[]).await.map(|_| ())
            } else {
                client.simple_query(ENDLESS).await.map(|_| ())
            }
        });
        // Until it meets a query that runs.
        let error = loop {
            tokio::select! {
                ended = &mut query => break ended.unwrap_err(),
                cancelled = cancel.cancel_query(NoTls) => cancelled.unwrap(),
            }
        };
        assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED), "{error:?}");
        // The connection goes on, once the last wish to cancel has come and found nothing, or this.
        while let Err(error) = client.simple_query("SELECT 1").await {
            assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED), "{error:?}");
        }
    }
}

#[tokio::test]
async fn rows_that_are_under_way_end_when_they_are_cancelled() {
    let served = served().await;
    let client = served.connect().await;
    let cancel = client.cancel_token();
    let rows = client.query_raw("SELECT * FROM generate_series(1, 2999999)", Vec::<String>::new()).await.unwrap();
    let mut rows = std::pin::pin!(rows);
    rows.next().await.unwrap().unwrap();
    cancel.cancel_query(NoTls).await.unwrap();
    let ended = rows.try_for_each(async |_| Ok(())).await.unwrap_err();
    assert_eq!(ended.code(), Some(&SqlState::QUERY_CANCELED));
}

#[tokio::test]
async fn a_client_that_goes_away_ends_its_query() {
    let change = |settings: &mut SqlSettings| {
        settings.max_running = 1;
        settings.patience = Duration::from_millis(20);
    };
    let served = served_with(change, 10).await;
    let other = served.connect().await;
    let busy = async || matches!(other.simple_query("SELECT 1").await, Err(error) if code(&error) == "53300");
    for says_so in [true, false] {
        let mut socket = TcpStream::connect(("127.0.0.1", served.port)).await.unwrap();
        socket.write_all(&startup()).await.unwrap();
        let query = [ENDLESS.as_bytes(), b"\0"].concat();
        let length = u32::try_from(query.len() + 4).unwrap().to_be_bytes();
        socket.write_all(&[b"Q", &length[..], &query].concat()).await.unwrap();
        while !busy().await {}
        // Either it says that it goes and waits, or it is just gone.
        let socket = if says_so {
            socket.write_all(b"X\0\0\0\x04").await.unwrap();
            Some(socket)
        } else {
            drop(socket);
            None
        };
        while busy().await {}
        drop(socket);
    }
}

/// Of a client that says only its name.
fn startup() -> Vec<u8> {
    let mut startup = b"\0\0\0\0\0\x03\0\0user\0me\0database\0x\0\0".to_vec();
    startup[3] = u8::try_from(startup.len()).unwrap();
    startup
}

#[tokio::test]
async fn a_timeout_may_be_shorter_but_not_longer_than_the_servers() {
    let served = served_with(|settings| settings.timeout = Duration::from_secs(2), 10).await;
    let client = served.connect().await;
    texts(&client, "SET statement_timeout = '50ms'").await;
    assert!(refusal(&client, ENDLESS).await.contains("statement_timeout"));
    texts(&client, "SET statement_timeout = '1h'").await;
    assert!(refusal(&client, ENDLESS).await.contains("query.timeout"));
}

#[tokio::test]
async fn drivers_and_dashboards_get_through_their_small_talk() {
    let served = served().await;
    let client = served.connect().await;
    for (sql, expected) in [
        ("SET extra_float_digits = 3; SET application_name = 'x'; SHOW application_name", "x"),
        ("SET datestyle TO 'ISO'; SHOW datestyle", "ISO"),
        ("SHOW transaction isolation level", "repeatable read"),
        ("SHOW standard_conforming_strings", "on"),
        ("SHOW search_path", "public"),
        ("SELECT current_database()", "tamslake"),
        ("SELECT current_schema()", "public"),
        ("SELECT pg_catalog.version() LIKE 'PostgreSQL 16%'", "t"),
        ("SELECT current_setting('server_version_num')", "160006"),
        ("BEGIN; SELECT 1; COMMIT", "1"),
        ("SELECT relname FROM pg_catalog.pg_class WHERE relname = 'flow_segments'", "flow_segments"),
        ("SELECT nspname FROM pg_namespace WHERE nspname = 'public'", "public"),
        ("SELECT typname FROM pg_type WHERE oid = 25", "text"),
        ("SELECT 'flows'::regclass::oid > 0", "t"),
        (
            "SELECT attname FROM pg_attribute WHERE attrelid = \
             (SELECT oid FROM pg_class WHERE relname = 'flow_segments' ORDER BY relkind DESC LIMIT 1)",
            "object_id",
        ),
    ] {
        let found = texts(&client, sql).await;
        assert!(found.iter().any(|text| text == expected), "{sql}: {found:?}");
    }
    let oid = "SELECT c.oid FROM pg_class c WHERE relname = 'flow_segments' AND relkind = 'v'";
    let oid = texts(&client, oid).await.remove(0);
    let name = format!("SELECT c.relname FROM pg_catalog.pg_class c WHERE c.oid = '{oid}'");
    assert_eq!(texts(&client, &name).await, ["flow_segments"], "a number means the same in the next query");
    assert_eq!(refusal(&client, "SET client_encoding TO 'LATIN1'").await[..5], *"0A000");
    assert_eq!(refusal(&client, "SHOW nothing").await[..5], *"42704");
    texts(&client, "").await;
    texts(&client, " ; -- only this").await;
}

/// As they were seen; what the tools make of the answers is tried by hand.
#[tokio::test]
async fn questions_of_tools_are_answered() {
    let served = served().await;
    let client = served.connect().await;
    for (tool, sql) in [
        ("psql \\dt", include_str!("questions/psql-dt.sql")),
        ("psql \\d+", include_str!("questions/psql-d-plus.sql")),
        ("Grafana", include_str!("questions/grafana-tables.sql")),
        ("DBeaver", include_str!("questions/dbeaver-schemas.sql")),
        ("SQLAlchemy 1", include_str!("questions/sqlalchemy1-indexes.sql")),
        ("SQLAlchemy 2", include_str!("questions/sqlalchemy2-columns.sql")),
    ] {
        client.simple_query(sql).await.unwrap_or_else(|error| panic!("{tool}: {error:?}"));
        client.prepare(sql).await.unwrap_or_else(|error| panic!("{tool}, prepared: {error:?}"));
    }
    let tables = texts(&client, include_str!("questions/grafana-tables.sql")).await;
    assert!(tables.iter().any(|table| table.ends_with("flow_segments")), "{tables:?}");
}

#[tokio::test]
async fn a_failed_transaction_ends_with_a_rollback() {
    let served = served().await;
    let mut client = served.connect().await;
    let transaction = client.transaction().await.unwrap();
    transaction.simple_query("SELECT * FROM nowhere").await.unwrap_err();
    transaction.rollback().await.unwrap();
    assert_eq!(texts(&client, "SELECT 1").await, ["1"]);
}

#[tokio::test]
async fn one_connection_too_many_is_told_so() {
    let served = served_with(|_| {}, 2).await;
    let first = served.connect().await;
    let second = served.connect().await;
    let error = served.try_connect().await.map(|_| ()).unwrap_err();
    assert_eq!(code(&error), "53300");
    // Those that are there can be cancelled all the same.
    first.cancel_token().cancel_query(NoTls).await.unwrap();
    drop(second);
    while served.try_connect().await.is_err() {}
}

#[tokio::test]
async fn what_is_prepared_has_a_bound() {
    let served = served().await;
    let client = served.connect().await;
    let mut kept = Vec::new();
    let error = loop {
        match client.prepare(&format!("SELECT {}", kept.len())).await {
            Ok(statement) => kept.push(statement),
            Err(error) => break error,
        }
    };
    assert_eq!(code(&error), "53400");
    drop(kept);
    while client.prepare("SELECT 'again'").await.is_err() {}
}

#[tokio::test]
async fn hostile_messages_end_the_connection_and_nothing_else() {
    let served = served().await;
    for message in [
        // As long as a gigabyte.
        &b"Q\x3f\xff\xff\xff"[..],
        b"Q\0\0\0\0",
        b"\xff\0\0\0\x04",
        // Execute with an absurd count, of what is not there.
        b"E\0\0\0\x09\0\x7f\xff\xff\xffX\0\0\0\x04",
        b"B\0\0\0\x10\0\0\xff\xff\0\0\0\0\0\0\0X\0\0\0\x04",
        b"d\0\0\0\x05xX\0\0\0\x04",
    ] {
        let mut socket = TcpStream::connect(("127.0.0.1", served.port)).await.unwrap();
        socket.write_all(&startup()).await.unwrap();
        socket.write_all(message).await.unwrap();
        let mut said = Vec::new();
        // Either way of ending is one.
        let _ = socket.read_to_end(&mut said).await;
    }
    let mut socket = TcpStream::connect(("127.0.0.1", served.port)).await.unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let _ = socket.read_to_end(&mut Vec::new()).await;
    assert_eq!(texts(&served.connect().await, "SELECT 1").await, ["1"]);
}

#[tokio::test]
async fn stopping_lets_a_query_finish_and_sends_idle_clients_away() {
    let served = served().await;
    let idle = served.connect().await;
    let client = served.connect().await;
    let rows = client.query_raw("SELECT * FROM generate_series(1, 1000000)", Vec::<String>::new()).await.unwrap();
    let mut rows = std::pin::pin!(rows);
    rows.next().await.unwrap().unwrap();
    served.stop.send(()).unwrap();
    assert_eq!(rows.try_fold(1, async |count, _| Ok(count + 1)).await.unwrap(), 1_000_000);
    served.serving.await.unwrap();
    assert!(idle.simple_query("SELECT 1").await.is_err());
    assert!(TcpStream::connect(("127.0.0.1", served.port)).await.is_err(), "nobody listens");
}
