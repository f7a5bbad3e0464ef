//! `flow_coverage`: the stretches of Flows' timelines without a gap.
//!
//! Instead of sorting all segments, each part of the scan joins neighbours as it reads them, for a file is in order; what is
//! left of millions of segments are a few stretches a Flow and a file, which are sorted and joined once more.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray, StringBuilder};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::config::ConfigOptions;
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{EquivalenceProperties, LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, ReplaceChildrenOptions};
use datafusion::physical_plan::filter_pushdown::{ChildPushdownResult, FilterPushdownPhase};
use datafusion::physical_plan::limit::LimitStream;
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, SendableRecordBatchStream,
};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};

use super::found_out::{FoundOut, Propagation};
use super::scan::{self, external};
use crate::catalog::{Catalog, ColdTable, State, TableScan};
use crate::domain::{FlowId, TimeRange};

/// Columns that a stretch is made of.
const NEEDED: [&str; 7] = [
    "flow_id",
    "start_seconds",
    "start_nanoseconds",
    "start_inclusive",
    "end_seconds",
    "end_nanoseconds",
    "end_inclusive",
];
const BATCH_ROWS: usize = 8_192;

/// A table of stretches: no two of a Flow touch.
pub struct FlowCoverage {
    catalog: Catalog,
    state: Arc<State>,
    schema: SchemaRef,
}

impl FlowCoverage {
    pub fn new(catalog: Catalog, state: Arc<State>) -> Self {
        let own = ColdTable::FlowSegments.schema();
        let columns = NEEDED.into_iter().filter_map(|name| own.fields().find(name).map(|(_, field)| field.clone()));
        let columns = columns.map(|field| Arc::new(Field::new(field.name(), field.data_type().clone(), false)));
        let segments = Arc::new(Field::new("segments", DataType::Int64, false));
        let schema = Arc::new(Schema::new(columns.chain([segments]).collect::<Vec<_>>()));
        Self { catalog, state, schema }
    }
}

impl fmt::Debug for FlowCoverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlowCoverage").finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for FlowCoverage {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        // Times are not handed on: a stretch would be cut where the wanted time begins.
        Ok(filters.iter().map(|filter| scan::use_of_flows(filter)).collect())
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut scan = TableScan::of(ColdTable::FlowSegments);
        scan.columns = NEEDED.map(str::to_owned).into();
        scan.flows = scan::wanted_flows(filters);
        let most = session.config().target_partitions();
        let (catalog, state, schema) = (self.catalog.clone(), self.state.clone(), self.schema.clone());
        let stretches = Stretches { catalog, state, schema, scan, most };
        Ok(Arc::new(CoverageExec::new(stretches, projection.cloned(), limit)?))
    }
}

/// Reads `flow_coverage`.
#[derive(Debug, Clone)]
struct CoverageExec {
    stretches: Stretches,
    projection: Option<Vec<usize>>,
    limit: Option<usize>,
    properties: Arc<PlanProperties>,
    found_out: FoundOut,
}

impl CoverageExec {
    fn new(stretches: Stretches, projection: Option<Vec<usize>>, limit: Option<usize>) -> Result<Self> {
        let schema = match &projection {
            Some(columns) => Arc::new(stretches.schema.project(columns)?),
            None => stretches.schema.clone(),
        };
        let mut equivalence = EquivalenceProperties::new(schema);
        if let Some(order) = ordering(&stretches.schema, projection.as_ref()) {
            equivalence.add_ordering(order);
        }
        let one = Partitioning::UnknownPartitioning(1);
        let properties = PlanProperties::new(equivalence, one, EmissionType::Final, Boundedness::Bounded);
        Ok(Self { stretches, projection, limit, properties: Arc::new(properties), found_out: FoundOut::default() })
    }
}

impl DisplayAs for CoverageExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FlowCoverage")?;
        if let Some(flows) = &self.stretches.scan.flows {
            write!(f, ": flows={}", flows.len())?;
        }
        if let Some(limit) = self.limit {
            write!(f, ", limit={limit}")?;
        }
        write!(f, "{}", self.found_out)
    }
}

impl ExecutionPlan for CoverageExec {
    fn name(&self) -> &str {
        "FlowCoverage"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.found_out.visit(visit)
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn handle_child_pushdown_result(
        &self,
        phase: FilterPushdownPhase,
        children: ChildPushdownResult,
        _: &ConfigOptions,
    ) -> Result<Propagation> {
        let (answer, more) = self.found_out.with(phase, &children, &["flow_id"]);
        let Some(found_out) = more else { return Ok(answer) };
        Ok(answer.with_updated_node(Arc::new(Self { found_out, ..self.clone() })))
    }

    fn execute(&self, _: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let (mut this, schema) = (self.clone(), self.schema());
        // Not before the first row is asked for: joins do that when they have read their other side.
        let batches = stream::once(async move {
            if this.stretches.scan.flows.is_none() {
                this.stretches.scan.flows = this.found_out.flows("flow_id")?;
            }
            let projection = this.projection;
            let batches = this.stretches.batches(&context).map(move |batch| match &projection {
                Some(columns) => Ok(batch?.project(columns)?),
                None => batch,
            });
            Ok::<_, DataFusionError>(batches)
        });
        let batches = RecordBatchStreamAdapter::new(schema.clone(), batches.try_flatten());
        Ok(match self.limit {
            Some(limit) => {
                let metrics = BaselineMetrics::new(&ExecutionPlanMetricsSet::new(), 0);
                Box::pin(LimitStream::new(Box::pin(batches), 0, Some(limit), metrics))
            }
            None => Box::pin(batches),
        })
    }
}

/// By Flow and start, as far as the wanted columns show it.
fn ordering(schema: &SchemaRef, projection: Option<&Vec<usize>>) -> Option<LexOrdering> {
    let mut columns = Vec::new();
    for name in NEEDED.into_iter().take(4) {
        let place = schema.index_of(name).ok()?;
        let shown = projection.map_or(Some(place), |shown| shown.iter().position(|shown| *shown == place));
        let Some(index) = shown else { break };
        let options = SortOptions { descending: name == "start_inclusive", nulls_first: false };
        columns.push(PhysicalSortExpr::new(Arc::new(Column::new(name, index)), options));
    }
    LexOrdering::new(columns)
}

#[derive(Clone)]
struct Stretches {
    catalog: Catalog,
    state: Arc<State>,
    schema: SchemaRef,
    scan: TableScan,
    /// Parts of the scan that are read at the same time, at most.
    most: usize,
}

impl fmt::Debug for Stretches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stretches").field("scan", &self.scan).finish_non_exhaustive()
    }
}

/// Segments that touch. Keys are those of [`TimeRange::start_key`] and [`TimeRange::end_key`]: what ends where another begins
/// has the same key there, and an instant between them that is in neither has one of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Stretch {
    flow_id: FlowId,
    start: i128,
    end: i128,
    segments: i64,
}

impl Stretch {
    /// Takes up what follows without a gap.
    fn join(&mut self, next: &Self) -> bool {
        let touches = self.flow_id == next.flow_id && self.end == next.start;
        if touches {
            self.end = next.end;
            self.segments += next.segments;
        }
        touches
    }
}

impl Stretches {
    fn batches(self, context: &TaskContext) -> BoxStream<'static, Result<RecordBatch>> {
        let count = Catalog::scan_parts(&self.state, &self.scan, self.most);
        let parts: Vec<_> = (0..count)
            .map(|part| {
                let batches = self.catalog.scan_part(self.state.clone(), self.scan.clone(), part, count);
                let room = MemoryConsumer::new("FlowCoverage").register(context.memory_pool());
                async move {
                    let mut batches = batches.map_err(external);
                    let mut found: Vec<Stretch> = Vec::new();
                    while let Some(batch) = batches.try_next().await? {
                        join_rows(&batch, &mut found)?;
                        room.try_resize(found.capacity() * size_of::<Stretch>())?;
                    }
                    Ok::<_, DataFusionError>((found, room))
                }
            })
            .collect();
        let joined = async move {
            let running: Vec<_> = parts.into_iter().map(SpawnedTask::spawn).collect();
            let mut all: Vec<Stretch> = Vec::new();
            let mut rooms = Vec::new();
            for part in running {
                let (mut found, room) =
                    part.join().await.map_err(|error| DataFusionError::External(Box::new(error)))??;
                if all.is_empty() {
                    all = found;
                } else {
                    all.append(&mut found);
                }
                rooms.push(room);
            }
            all.sort_unstable();
            let mut length: usize = 0;
            for at in 0..all.len() {
                let Some(next) = all.get(at).copied() else { break };
                let last = length.checked_sub(1).and_then(|last| all.get_mut(last));
                if last.is_some_and(|last| last.join(&next)) {
                    continue;
                }
                if let Some(place) = all.get_mut(length) {
                    *place = next;
                }
                length += 1;
            }
            all.truncate(length);
            Ok::<_, DataFusionError>((all, rooms))
        };
        let made = self.schema;
        let batches = stream::once(joined).flat_map(move |joined| {
            let made = made.clone();
            match joined {
                Err(error) => stream::once(std::future::ready(Err(error))).boxed(),
                Ok((all, rooms)) => {
                    let ranges: Vec<_> = (0..all.len()).step_by(BATCH_ROWS).collect();
                    stream::iter(ranges)
                        .map(move |from| {
                            // Counted as long as they are held.
                            let _rooms = &rooms;
                            let to = all.len().min(from + BATCH_ROWS);
                            rows(&made, all.get(from..to).unwrap_or_default())
                        })
                        .boxed()
                }
            }
        });
        batches.boxed()
    }
}

/// Joins the rows of a batch to what was found before them. Rows are in order; where they begin anew, with the next file,
/// so do stretches.
fn join_rows(batch: &RecordBatch, found: &mut Vec<Stretch>) -> Result<()> {
    let wrong = || DataFusionError::Internal("a scan gave columns other than those that were asked for".into());
    let column = |number: usize| batch.columns().get(number).ok_or_else(wrong);
    let flows: &StringArray = column(0)?.as_string_opt().ok_or_else(wrong)?;
    let ints = |number| column(number)?.as_primitive_opt::<Int64Type>().ok_or_else(wrong);
    let nanos = |number| column(number)?.as_primitive_opt::<Int32Type>().ok_or_else(wrong);
    let marks = |number| column(number)?.as_boolean_opt().ok_or_else(wrong);
    let (start_s, start_ns, start_in): (&Int64Array, &Int32Array, &BooleanArray) = (ints(1)?, nanos(2)?, marks(3)?);
    let (end_s, end_ns, end_in): (&Int64Array, &Int32Array, &BooleanArray) = (ints(4)?, nanos(5)?, marks(6)?);
    let (start_in, end_in) = (start_in.values(), end_in.values());
    let mut flow: Option<(&str, FlowId)> = None;
    let times = start_s.values().iter().zip(start_ns.values()).zip(end_s.values().iter().zip(end_ns.values()));
    for (row, ((start_s, start_ns), (end_s, end_ns))) in times.enumerate() {
        let text = flows.value(row);
        let flow_id = match flow {
            Some((same, id)) if same == text => id,
            _ => text.parse().map_err(|_| DataFusionError::Execution(format!("{text:?} is no id of a Flow")))?,
        };
        flow = Some((text, flow_id));
        let key = |seconds: i64, nanoseconds: i32| i128::from(seconds) * 2_000_000_000 + 2 * i128::from(nanoseconds);
        let next = Stretch {
            flow_id,
            start: key(*start_s, *start_ns) + i128::from(!start_in.value(row)),
            end: key(*end_s, *end_ns) + i128::from(end_in.value(row)),
            segments: 1,
        };
        if !found.last_mut().is_some_and(|last| last.join(&next)) {
            found.push(next);
        }
    }
    Ok(())
}

fn rows(schema: &SchemaRef, stretches: &[Stretch]) -> Result<RecordBatch> {
    let mut flows = StringBuilder::with_capacity(stretches.len(), stretches.len() * 36);
    let mut text = String::new();
    for stretch in stretches {
        text.clear();
        // Writing to memory does not fail.
        let _ = std::fmt::Write::write_fmt(&mut text, format_args!("{}", stretch.flow_id));
        flows.append_value(&text);
    }
    let ranges: Vec<TimeRange> = stretches.iter().map(|s| TimeRange::from_keys(s.start, s.end)).collect();
    let bounds = |side: fn(&TimeRange) -> Option<crate::domain::Bound>| {
        let bounds: Vec<_> = ranges.iter().map(side).collect();
        let parts = |at: Option<crate::domain::Bound>| at.map_or((0, 0), |bound| bound.at.to_parts());
        (
            Int64Array::from_iter_values(bounds.iter().map(|bound| parts(*bound).0)),
            Int32Array::from_iter_values(bounds.iter().map(|bound| parts(*bound).1)),
            bounds.iter().map(|bound| Some(bound.is_some_and(|bound| bound.inclusive))).collect::<BooleanArray>(),
        )
    };
    let (start_s, start_ns, start_in) = bounds(TimeRange::start);
    let (end_s, end_ns, end_in) = bounds(TimeRange::end);
    let segments = Int64Array::from_iter_values(stretches.iter().map(|stretch| stretch.segments));
    let columns: Vec<Arc<dyn Array>> = vec![
        Arc::new(flows.finish()),
        Arc::new(start_s),
        Arc::new(start_ns),
        Arc::new(start_in),
        Arc::new(end_s),
        Arc::new(end_ns),
        Arc::new(end_in),
        Arc::new(segments),
    ];
    Ok(RecordBatch::try_new(schema.clone(), columns)?)
}
