//! What the tests of all fronts begin with: a small catalogue, and the service over it.

use std::sync::Arc;
use std::time::Duration;

use super::{Engine, Sql, SqlSettings};
use crate::catalog::tests::helpers::{self, ByHand};
use crate::catalog::{Change, State};
use crate::domain::Flow;

pub struct World {
    _folder: tempfile::TempDir,
    scratch: tempfile::TempDir,
    by_hand: ByHand,
    pub sql: Sql,
}

/// A recursion without end, which needs no memory.
pub const ENDLESS: &str =
    "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t WHERE n < 0";

fn settings(scratch: &tempfile::TempDir) -> SqlSettings {
    SqlSettings {
        engine: Engine::DataFusion,
        threads: 2,
        timeout: Duration::from_secs(120),
        memory_bytes: 256 << 20,
        scratch: scratch.path().to_owned(),
        scratch_bytes: 64 << 20,
        max_rows: 3_000_000,
        max_sql_bytes: 256 << 10,
        max_running: 4,
        max_running_of_caller: 4,
        patience: Duration::from_secs(60),
    }
}

impl World {
    pub async fn with(change: impl FnOnce(&mut SqlSettings)) -> Self {
        let (folder, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let by_hand = ByHand::open(helpers::local(&folder), helpers::clock(1)).await;
        let mut settings = settings(&scratch);
        change(&mut settings);
        let sql = Sql::new(by_hand.catalog.clone(), settings, Arc::new(Vec::new)).unwrap();
        let world = Self { _folder: folder, scratch, by_hand, sql };
        world.commit(vec![helpers::put_source(1)]).await;
        world.put_flow(1).await;
        world
    }

    async fn commit(&self, changes: Vec<Change>) {
        helpers::put(&self.by_hand.catalog, changes).await.unwrap();
    }

    /// The LSN that has it.
    pub async fn put_flow(&self, n: u8) -> u64 {
        let flow = Flow { label: Some(format!("flow {n}")), ..helpers::flow(n, 1) };
        self.commit(vec![Change::PutFlow(Arc::new(flow))]).await;
        self.state().seq()
    }

    pub fn state(&self) -> Arc<State> {
        self.by_hand.catalog.snapshot()
    }

    /// Where nothing is yet.
    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.scratch.path().join(name)
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore]
async fn zz_by_hand() {
    use crate::query::{Question, flight, postgres};
    let world = World::with(|_| {}).await;
    for n in 2..5 {
        world.put_flow(n).await;
    }
    for (postgres, sql) in [
        (false, "SELECT 1"),
        (true, "SELECT 1"),
        (false, "SELECT count(*) FROM flows"),
        (true, "SELECT count(*) FROM flows"),
        (true, "SELECT count(*) FROM pg_catalog.pg_class"),
    ] {
        for round in 0..2 {
            let start = std::time::Instant::now();
            let runs = if round == 0 { 1 } else { 50 };
            for _ in 0..runs {
                let mut answer = world.sql.ask(Question { postgres, ..Question::new(sql) }).await.unwrap();
                while futures::StreamExt::next(&mut answer.batches).await.is_some() {}
            }
            println!("postgres {postgres} {sql}: {:?} each of {runs}", start.elapsed() / runs);
        }
    }
    let pg = tokio::net::TcpListener::bind("127.0.0.1:54329").await.unwrap();
    let fl = tokio::net::TcpListener::bind("127.0.0.1:54330").await.unwrap();
    println!("serving");
    let grace = Duration::from_secs(1);
    tokio::join!(
        postgres::serve(
            world.sql.clone(),
            pg,
            postgres::PostgresSettings { max_connections: 20, grace },
            std::future::pending()
        ),
        flight::serve(
            world.sql.clone(),
            fl,
            flight::FlightSettings { max_connections: 20, grace },
            std::future::pending()
        ),
    )
    .1
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore]
async fn zz_deep() {
    use crate::query::Question;
    let world = World::with(|_| {}).await;
    let kind = std::env::var("KIND").unwrap();
    let n: usize = std::env::var("N").unwrap().parse().unwrap();
    let sql = match kind.as_str() {
        "plus" => format!("SELECT 1 {}", "+ 1 ".repeat(n)),
        "or" => format!("SELECT 1 FROM flows WHERE 1 = 1 {}", "OR label = 'x' ".repeat(n)),
        "union" => format!("SELECT 1 {}", "UNION ALL SELECT 1 ".repeat(n)),
        "join" => format!("SELECT 1 FROM flows {}", (0..n).map(|n| format!(",flows a{n}")).collect::<String>()),
        "in" => format!("SELECT 1 FROM flows WHERE label IN ('x'{})", ",'x'".repeat(n)),
        "cast" => format!("SELECT 1{}", "::int".repeat(n)),
        "index" => format!("SELECT a{} FROM flows", "[1]".repeat(n)),
        "not" => format!("SELECT {} true", "NOT ".repeat(n)),
        "minus" => format!("SELECT {} 1", "- ".repeat(n)),
        "case" => format!("SELECT {} 1 {}", "CASE WHEN true THEN ".repeat(n), "END ".repeat(n)),
        _ => panic!(),
    };
    let engine = if std::env::var("DUCK").is_ok() { Engine::DuckDb } else { Engine::DataFusion };
    let start = std::time::Instant::now();
    let answer = world.sql.ask(Question { engine: Some(engine), ..Question::new(&sql) }).await;
    println!("{kind} {n} {} bytes: {:.200} {:?}", sql.len(), format!("{:?}", answer.map(|_| ())), start.elapsed());
}
