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
