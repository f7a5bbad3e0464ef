//! A real client against the real server. ADBC and JDBC are tried by hand.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Int64Type, Schema};
use arrow::util::display::array_value_to_string;
use arrow_flight::FlightInfo;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::sql::{CommandGetDbSchemas, CommandGetTables, SqlInfo};
use futures::{StreamExt, TryStreamExt};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use super::*;
use crate::query::SqlSettings;
use crate::query::front_tests::{ENDLESS, World};

type Client = FlightSqlServiceClient<Channel>;

struct Served {
    world: World,
    port: u16,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), ServeError>>,
}

async fn served() -> Served {
    served_with(|_| {}).await
}

async fn served_with(change: impl FnOnce(&mut SqlSettings)) -> Served {
    let world = World::with(change).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (stop, stopped) = oneshot::channel();
    let settings = FlightSettings { max_connections: 4, grace: Duration::from_secs(30) };
    let serving = tokio::spawn(serve(world.sql.clone(), listener, settings, async {
        let _ = stopped.await;
    }));
    Served { world, port, stop, serving }
}

impl Served {
    async fn connect(&self) -> Client {
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{}", self.port)).unwrap();
        FlightSqlServiceClient::new(endpoint.connect().await.unwrap())
    }
}

async fn fetch(client: &mut Client, info: FlightInfo) -> Result<Vec<RecordBatch>, arrow_flight::error::FlightError> {
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let batches = client.do_get(ticket).await?;
    batches.try_collect().await
}

async fn query(client: &mut Client, sql: &str) -> Vec<String> {
    let info = client.execute(sql.to_owned(), None).await.unwrap();
    let schema = Schema::try_from(info.clone()).ok();
    let batches = fetch(client, info).await.unwrap();
    if let (Some(batch), Some(schema)) = (batches.first(), schema) {
        assert_eq!(batch.schema_ref().fields(), schema.fields(), "as it was told before");
    }
    texts(&batches)
}

fn texts(batches: &[RecordBatch]) -> Vec<String> {
    let row = |batch: &RecordBatch, row| {
        let values = batch.columns().iter().map(|column| array_value_to_string(column, row).unwrap());
        values.collect::<Vec<_>>().join(" ")
    };
    batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |n| row(batch, n))).collect()
}

/// What the server says, which the client wraps in words of its own.
fn says(error: &impl std::fmt::Debug, code: Code) -> bool {
    format!("{error:?}").contains(&format!("{code:?}"))
}

#[tokio::test]
async fn both_engines_answer_with_the_schema_that_was_told() {
    let served = served().await;
    let mut client = served.connect().await;
    assert_eq!(query(&mut client, "SELECT label, source_id IS NOT NULL FROM flows").await, ["flow 1 true"]);
    client.set_header("tamslake-engine", "duckdb");
    assert_eq!(query(&mut client, "SELECT label, list_value(1, 2) FROM flows").await, ["flow 1 [1, 2]"]);
    client.set_header("tamslake-engine", "postgres");
    assert!(says(&client.execute("SELECT 1".into(), None).await.unwrap_err(), Code::InvalidArgument));
}

#[tokio::test]
async fn every_table_can_be_fetched_with_the_schema_that_was_told() {
    let served = served().await;
    let mut client = served.connect().await;
    let wanted = CommandGetTables { include_schema: true, ..CommandGetTables::default() };
    let info = client.get_tables(wanted).await.unwrap();
    let batches = fetch(&mut client, info).await.unwrap();
    let mut count = 0;
    for batch in &batches {
        let column = |name: &str| batch.column_by_name(name).unwrap().as_string::<i32>().clone();
        let (schemas, tables) = (column("db_schema_name"), column("table_name"));
        let shapes = batch.column_by_name("table_schema").unwrap().as_binary::<i32>();
        for row in 0..batch.num_rows() {
            let shape = Schema::try_from(arrow_flight::IpcMessage(shapes.value(row).to_vec().into())).unwrap();
            assert!(!shape.fields().is_empty());
            if schemas.value(row) != "information_schema" {
                query(&mut client, &format!("SELECT * FROM {}.{}", schemas.value(row), tables.value(row))).await;
                count += 1;
            }
        }
    }
    assert!(count > 10, "{count}");
    let wanted = CommandGetTables {
        db_schema_filter_pattern: Some("public".into()),
        table_name_filter_pattern: Some("flow%".into()),
        ..CommandGetTables::default()
    };
    let info = client.get_tables(wanted).await.unwrap();
    let found = texts(&fetch(&mut client, info).await.unwrap());
    assert!(found.iter().any(|table| table.starts_with("tamslake public flow_segments ")), "{found:?}");
    assert!(found.iter().all(|table| table.starts_with("tamslake public flow")), "{found:?}");
}

#[tokio::test]
async fn catalogues_schemas_and_the_server_itself_are_described() {
    let served = served().await;
    let mut client = served.connect().await;
    let info = client.get_catalogs().await.unwrap();
    assert_eq!(texts(&fetch(&mut client, info).await.unwrap()), ["tamslake"]);
    let info = client.get_db_schemas(CommandGetDbSchemas::default()).await.unwrap();
    let schemas = texts(&fetch(&mut client, info).await.unwrap());
    assert!(schemas.contains(&"tamslake public".into()) && schemas.contains(&"tamslake raw".into()), "{schemas:?}");
    let info = client.get_table_types().await.unwrap();
    assert_eq!(texts(&fetch(&mut client, info).await.unwrap()), ["TABLE", "VIEW"]);
    let wanted = vec![SqlInfo::FlightSqlServerName, SqlInfo::FlightSqlServerReadOnly];
    let info = client.get_sql_info(wanted).await.unwrap();
    let told = texts(&fetch(&mut client, info).await.unwrap());
    assert!(told[0].contains("tamslake") && told[1].contains("true"), "{told:?}");
    client.handshake("me", "secret").await.unwrap();
    assert_eq!(query(&mut client, "SELECT 1").await, ["1"]);
}

#[tokio::test]
async fn a_prepared_statement_takes_parameters_and_sees_what_is_new() {
    let served = served().await;
    let mut client = served.connect().await;
    for (engine, sql) in [
        ("datafusion", "SELECT count(*) FROM flows WHERE label <> $1 AND 1 = $2"),
        ("duckdb", "SELECT count(*) FROM flows WHERE label <> $1 AND 1 = $2"),
        ("datafusion", "SELECT count(*) FROM flows WHERE label <> $name AND 1 = $one"),
    ] {
        client.set_header("tamslake-engine", engine);
        let mut statement = client.prepare(sql.into(), None).await.unwrap();
        if engine == "datafusion" {
            assert_eq!(statement.parameter_schema().unwrap().fields().len(), 2);
            assert_eq!(statement.dataset_schema().unwrap().fields().len(), 1);
        }
        let columns: [(&str, ArrayRef); 2] =
            [("name", Arc::new(StringArray::from(vec!["none"]))), ("one", Arc::new(Int64Array::from(vec![1])))];
        statement.set_parameters(RecordBatch::try_from_iter(columns).unwrap()).unwrap();
        let count = async |statement: &mut arrow_flight::sql::client::PreparedStatement<Channel>| {
            let info = statement.execute().await.unwrap();
            let batches = fetch(&mut served.connect().await, info).await.unwrap();
            batches[0].column(0).as_primitive::<Int64Type>().value(0)
        };
        let before = count(&mut statement).await;
        served.world.put_flow(u8::try_from(before).unwrap() + 1).await;
        assert_eq!(count(&mut statement).await, before + 1, "{engine}: {sql}");
        statement.close().await.unwrap();
    }
}

#[tokio::test]
async fn an_earlier_state_is_asked_by_header_or_by_clause() {
    let served = served().await;
    let first = served.world.state().seq();
    served.world.put_flow(2).await;
    let mut client = served.connect().await;
    let count = "SELECT count(*) FROM flows";
    assert_eq!(query(&mut client, count).await, ["2"]);
    assert_eq!(query(&mut client, &format!("{count} AS OF LSN {first}")).await, ["1"]);
    client.set_header("tamslake-as-of", first.to_string());
    assert_eq!(query(&mut client, count).await, ["1"]);
    client.set_header("tamslake-as-of", "yesterday");
    assert!(says(&client.execute(count.into(), None).await.unwrap_err(), Code::InvalidArgument));
}

#[tokio::test]
async fn failures_have_their_codes() {
    let served = served_with(|settings| {
        settings.timeout = Duration::from_secs(2);
        settings.max_rows = 1_000;
    })
    .await;
    let mut client = served.connect().await;
    let file = served.world.path("x");
    let long = format!("SELECT {}1{}", "(".repeat(300_000), ")".repeat(300_000));
    for (sql, code) in [
        ("SELECT * FROM nowhere", Code::InvalidArgument),
        (&long, Code::InvalidArgument),
        ("DROP TABLE flows", Code::PermissionDenied),
        ("INSERT INTO flows SELECT * FROM flows", Code::PermissionDenied),
        (&format!("COPY (SELECT 1) TO '{}' STORED AS CSV", file.display()), Code::PermissionDenied),
        ("SET datafusion.execution.batch_size = 1", Code::PermissionDenied),
    ] {
        for engine in ["datafusion", "duckdb"] {
            client.set_header("tamslake-engine", engine);
            let failed = match client.execute(sql.into(), None).await {
                Err(error) => format!("{error:?}"),
                Ok(info) => format!("{:?}", fetch(&mut client, info).await.unwrap_err()),
            };
            // DuckDB knows fewer statements by name.
            let or = if engine == "duckdb" { Code::InvalidArgument } else { code };
            assert!(says(&failed, code) || says(&failed, or), "{engine}: {sql:.80}: {failed}");
        }
    }
    client.set_header("tamslake-engine", "datafusion");
    let info = client.execute(ENDLESS.into(), None).await.unwrap();
    assert!(says(&fetch(&mut client, info).await.unwrap_err(), Code::DeadlineExceeded));
    let info = client.execute("SELECT * FROM generate_series(1, 1000000)".into(), None).await.unwrap();
    assert!(says(&fetch(&mut client, info).await.unwrap_err(), Code::ResourceExhausted));
    assert!(says(&client.execute_update("DELETE FROM flows".into(), None).await.unwrap_err(), Code::PermissionDenied));
    let forged = arrow_flight::Ticket::new("nonsense");
    client.do_get(forged).await.map(|_| ()).unwrap_err();
    assert!(!file.exists());
    assert_eq!(query(&mut client, "SELECT count(*) FROM flows").await, ["1"]);
}

#[tokio::test]
async fn a_dropped_answer_ends_its_query() {
    let change = |settings: &mut SqlSettings| {
        settings.max_running = 1;
        settings.patience = Duration::from_millis(20);
    };
    let served = served_with(change).await;
    let (mut client, mut other) = (served.connect().await, served.connect().await);
    let rows = "SELECT * FROM generate_series(1, 2000000)";
    for sql in [rows, ENDLESS] {
        let info = client.execute(sql.into(), None).await.unwrap();
        let ticket = info.endpoint[0].ticket.clone().unwrap();
        let mut client = client.clone();
        let answer = tokio::spawn(async move {
            let mut batches = client.do_get(ticket).await.unwrap();
            batches.next().await.unwrap().unwrap();
            std::future::pending::<()>().await;
        });
        let mut busy = async || match other.execute("SELECT 1".into(), None).await {
            Ok(_) => false,
            Err(error) => says(&error, Code::Unavailable),
        };
        while !busy().await {}
        answer.abort();
        while busy().await {}
    }
}

#[tokio::test]
async fn stopping_lets_an_answer_finish() {
    let served = served().await;
    let mut client = served.connect().await;
    let info = client.execute("SELECT * FROM generate_series(1, 1000000)".into(), None).await.unwrap();
    let mut batches = client.do_get(info.endpoint[0].ticket.clone().unwrap()).await.unwrap();
    let first = batches.next().await.unwrap().unwrap().num_rows();
    served.stop.send(()).unwrap();
    let rest = batches.try_fold(first, async |rows, batch| Ok(rows + batch.num_rows())).await.unwrap();
    assert_eq!(rest, 1_000_000);
    drop(client);
    served.serving.await.unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(("127.0.0.1", served.port)).await.is_err(), "nobody listens");
}
