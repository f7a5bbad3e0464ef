//! A session of DataFusion over one state: tables, views, functions, limits. It may only read.

mod coverage;
mod found_out;
mod functions;
mod patient;
mod postgres;
mod scan;
mod tables;

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use datafusion::common::ParamValues;
use datafusion::common::config::SpillCompression;
use datafusion::error::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{GreedyMemoryPool, TrackConsumersPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt;

use super::error::QueryError;
use super::params::Params;
use super::sql::{AnswerBatches, Description};
use crate::catalog::{Catalog, State};

use found_out::{MOST_BYTES, MOST_VALUES, may_be_mistaken};
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
        config.options_mut().optimizer.hash_join_inlist_pushdown_max_distinct_values = MOST_VALUES;
        config.options_mut().optimizer.hash_join_inlist_pushdown_max_size = MOST_BYTES;
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
        let plan = with_values(self.plan(sql).await?, params)?;
        let state = self.context.state();
        let plan = state.optimize(&plan)?;
        let schema = told(plan.schema().as_arrow());
        let mut physical = state.query_planner().create_physical_plan(&plan, &state).await?;
        if may_be_mistaken(&physical) {
            let mut state = state;
            state.config_mut().options_mut().optimizer.enable_join_dynamic_filter_pushdown = false;
            physical = state.query_planner().create_physical_plan(&plan, &state).await?;
        }
        let physical = make_patient(physical)?;
        let rows = execute_stream(physical, self.context.task_ctx())?;
        let as_told = schema.clone();
        Ok((schema, rows.map(move |batch| Ok(as_told_batch(&batch?, &as_told)?)).boxed()))
    }

    pub async fn describe(&self, sql: &str, values: &Params) -> Result<Description, QueryError> {
        let plan = self.plan(sql).await?;
        let mut params: Vec<_> = plan.get_parameter_types()?.into_iter().collect();
        // $2 comes before $10.
        params.sort_by_key(|(name, _)| (name.len(), name.clone()));
        let params: Vec<_> =
            params.into_iter().map(|(name, kind)| (name.trim_start_matches('$').to_owned(), kind)).collect();
        let unknown = values.is_empty() && params.iter().any(|(_, kind)| kind.is_none());
        let mut plan = with_values(plan, values)?;
        // Types that have to fit each other, as in a UNION, are made to fit here; values that nobody knows yet fit nothing.
        if !unknown {
            let state = self.context.state();
            plan = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})?;
        }
        Ok(Description { schema: told(plan.schema().as_arrow()), params })
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

fn with_values(plan: LogicalPlan, params: &Params) -> Result<LogicalPlan, DataFusionError> {
    if params.is_empty() { Ok(plan) } else { plan.with_param_values(ParamValues::from(params)) }
}

/// A schema as answers have it, whether they are described or given. Views of strings are a matter of the engine, and what it
/// finds out about nulls differs between a plan and what becomes of it.
fn told(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| Arc::new(told_field(field).with_nullable(true)));
    Arc::new(Schema::new(fields.collect::<Fields>()))
}

fn told_field(field: &Field) -> Field {
    let inner = |field: &FieldRef| Arc::new(told_field(field));
    let kind = match field.data_type() {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::List(item) => DataType::List(inner(item)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inner).collect()),
        other => other.clone(),
    };
    field.clone().with_data_type(kind)
}

fn as_told_batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, DataFusionError> {
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| match field.data_type() {
        kind if kind == column.data_type() => Ok(column.clone()),
        kind => cast(column, kind),
    });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns.collect::<Result<_, _>>()?, &options)?)
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
