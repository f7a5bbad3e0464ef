//! What a session shows: the catalogue's tables as they are stored in the schema `raw`, and in `public` the views that
//! people ask, under the same names with handy columns behind. A view is planned when a query names it.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::catalog::{
    CatalogProvider, MemTable, MemoryCatalogProvider, MemorySchemaProvider, SchemaProvider, TableProvider,
};
use datafusion::datasource::ViewTable;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::execution::context::SessionState;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::prelude::SessionContext;
use futures::TryStreamExt;

use super::coverage::FlowCoverage;
use super::scan::{LargeTable, Resident, external};
use super::{CATALOG, SCHEMA};
use crate::catalog::{Catalog, ColdTable, SmallTable, State, events_schema};
use crate::query::views;

pub fn register(context: &SessionContext, catalog: &Catalog, state: &Arc<State>, backends: &RecordBatch) -> Result<()> {
    let raw = MemorySchemaProvider::new();
    for table in ColdTable::ALL {
        let provider = LargeTable { catalog: catalog.clone(), state: state.clone(), table };
        raw.register_table(table.name().to_owned(), Arc::new(provider))?;
    }
    for table in SmallTable::ALL {
        raw.register_table(table.name().to_owned(), Arc::new(Resident { state: state.clone(), table }))?;
    }
    let events = Events { catalog: catalog.clone(), state: state.clone(), schema: events_schema() };
    raw.register_table("events".into(), Arc::new(StreamingTable::try_new(events_schema(), vec![Arc::new(events)])?))?;
    let constant = |batch: RecordBatch| MemTable::try_new(batch.schema(), vec![vec![batch]]);
    raw.register_table("storage_backends".into(), Arc::new(constant(backends.clone())?))?;
    raw.register_table("columns".into(), Arc::new(constant(views::columns().clone())?))?;
    let coverage = FlowCoverage::new(catalog.clone(), state.clone());
    raw.register_table(COVERAGE.into(), Arc::new(coverage))?;
    let raw = Arc::new(raw);
    let all = Arc::new(MemoryCatalogProvider::new());
    all.register_schema("raw", raw.clone())?;
    context.register_catalog(CATALOG, all.clone());
    // Views see what is stored, and no other view.
    let state = context.state();
    all.register_schema(SCHEMA, Arc::new(People { raw, state }))?;
    Ok(())
}

/// A view in DuckDB, an operator of its own here.
const COVERAGE: &str = "flow_coverage";

fn view(name: &str) -> Option<&'static views::View> {
    views::VIEWS.iter().find(|view| view.name == name && name != COVERAGE)
}

/// The views, and what is shown as it is.
struct People {
    raw: Arc<MemorySchemaProvider>,
    state: SessionState,
}

impl fmt::Debug for People {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("People").finish_non_exhaustive()
    }
}

#[async_trait]
impl SchemaProvider for People {
    fn table_names(&self) -> Vec<String> {
        let mut names = self.raw.table_names();
        names.extend(views::VIEWS.iter().map(|view| view.name.to_owned()));
        names.sort_unstable();
        names.dedup();
        names
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some(view) = view(name) else { return self.raw.table(name).await };
        let plan = self.state.create_logical_plan(view.sql).await?;
        Ok(Some(Arc::new(ViewTable::new(plan, Some(view.sql.to_owned())))))
    }

    fn table_exist(&self, name: &str) -> bool {
        view(name).is_some() || self.raw.table_exist(name)
    }
}

/// The events of a state, read from the log.
struct Events {
    catalog: Catalog,
    state: Arc<State>,
    schema: SchemaRef,
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

impl PartitionStream for Events {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let batches = self.catalog.event_rows(&self.state).map_err(external);
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), batches))
    }
}
