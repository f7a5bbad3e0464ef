//! A session of DataFusion over one state: tables, views, functions, limits. It may only read.

mod coverage;
mod functions;
mod patient;
mod postgres;
mod scan;
mod tables;

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::ParamValues;
use datafusion::common::config::SpillCompression;
use datafusion::error::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{GreedyMemoryPool, TrackConsumersPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use futures::{StreamExt, TryStreamExt};

use super::error::QueryError;
use super::params::Params;
use super::sql::{AnswerBatches, Description};
use crate::catalog::{Catalog, State};

use patient::make_patient;

pub use postgres::default_setting;

/// The database and the schema that names without any are looked up in.
pub const CATALOG: &str = "tamslake";
pub const SCHEMA: &str = "public";

#[derive(Debug, Clone)]
pub struct SessionSettings {
    pub threads: usize,
    pub memory_bytes: u64,
    pub scratch: PathBuf,
    pub scratch_bytes: u64,
    /// Of the memory, what sorting keeps free to merge what it has sorted; less, and it fails where rows are wide.
    pub merge_bytes: Option<u64>,
    /// Rows of `storage_backends`.
    pub backends: RecordBatch,
    /// With the system tables of PostgreSQL.
    pub postgres: bool,
}

pub struct Session {
    context: SessionContext,
}

impl Session {
    pub fn new(catalog: &Catalog, state: &Arc<State>, settings: &SessionSettings) -> Result<Self, QueryError> {
        let config = SessionConfig::new()
            .with_target_partitions(settings.threads)
            .with_information_schema(true)
            .with_create_default_catalog_and_schema(false)
            .with_default_catalog_and_schema(CATALOG, SCHEMA);
        let mut config = match settings.merge_bytes {
            Some(bytes) => config.with_sort_spill_reservation_bytes(usize::try_from(bytes).unwrap_or(usize::MAX)),
            None => config,
        };
        config.options_mut().execution.spill_compression = SpillCompression::Lz4Frame;
        let memory = usize::try_from(settings.memory_bytes).unwrap_or(usize::MAX);
        let largest = std::num::NonZeroUsize::MIN;
        let disk = DiskManagerBuilder::default()
            .with_mode(DiskManagerMode::Directories(vec![settings.scratch.clone()]))
            .with_max_temp_directory_size(settings.scratch_bytes);
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(TrackConsumersPool::new(GreedyMemoryPool::new(memory), largest)))
            .with_disk_manager_builder(disk)
            .build_arc()?;
        let context = SessionContext::new_with_config_rt(config, runtime);
        functions::register(&context);
        tables::register(&context, catalog, state, &settings.backends)?;
        if settings.postgres {
            postgres::register(&context)?;
        }
        Ok(Self { context })
    }

    /// The answer to one query, which may only read.
    pub async fn query(&self, sql: &str, params: &Params) -> Result<(SchemaRef, AnswerBatches), QueryError> {
        let plan = self.plan(sql).await?;
        let plan = if params.is_empty() { plan } else { plan.with_param_values(ParamValues::from(params))? };
        let frame = DataFrame::new(self.context.state(), plan);
        let context = Arc::new(frame.task_ctx());
        let plan = make_patient(frame.create_physical_plan().await?)?;
        let rows = execute_stream(plan, context)?;
        Ok((rows.schema(), rows.map_err(QueryError::from).boxed()))
    }

    pub async fn describe(&self, sql: &str) -> Result<Description, QueryError> {
        let plan = self.plan(sql).await?;
        let mut params: Vec<_> = plan.get_parameter_types()?.into_iter().collect();
        // $2 comes before $10.
        params.sort_by_key(|(name, _)| (name.len(), name.clone()));
        let params = params.into_iter().map(|(name, kind)| (name.trim_start_matches('$').to_owned(), kind)).collect();
        Ok(Description { schema: Arc::new(plan.schema().as_arrow().clone()), params })
    }

    async fn plan(&self, sql: &str) -> Result<LogicalPlan, QueryError> {
        let planned = self.context.state().create_logical_plan(sql).await;
        let plan = planned.map_err(|error| match QueryError::from(error) {
            // What is wrong with a write is of no interest.
            QueryError::Wrong(text) if is_write(sql) => QueryError::NotAQuery(text),
            error => error,
        })?;
        only_reads().verify_plan(&plan).map_err(read_only)?;
        Ok(plan)
    }
}

/// Whether a statement begins as one that changes something, or takes rows elsewhere.
fn is_write(sql: &str) -> bool {
    const WRITES: [&str; 8] = ["copy", "create", "insert", "update", "delete", "drop", "alter", "truncate"];
    let first: String = sql.trim_start().chars().take_while(char::is_ascii_alphabetic).collect();
    WRITES.contains(&first.to_ascii_lowercase().as_str())
}

fn only_reads() -> SQLOptions {
    SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false)
}

fn read_only(error: DataFusionError) -> QueryError {
    match error.find_root() {
        DataFusionError::Plan(text) if text.contains("not supported: ") => QueryError::NotAQuery(text.clone()),
        _ => error.into(),
    }
}
