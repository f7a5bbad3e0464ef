//! DataFusion over a snapshot: each table of the catalogue as a table of SQL, read by the catalogue's own scan (ADR 0010).
//!
//! What a query says of Flows, times, Objects, order and limit reaches the scan.

use std::any::Any;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{ScalarValue, Statistics};
use datafusion::config::ConfigOptions;
use datafusion::datasource::MemTable;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::{EquivalenceProperties, LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, ReplaceChildrenOptions};
use datafusion::physical_plan::filter_pushdown::{ChildPushdownResult, FilterPushdownPhase};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, SendableRecordBatchStream,
    SortOrderPushdownResult,
};
use futures::{TryStreamExt, stream};

use super::found_out::{FoundOut, Propagation};
use crate::catalog::{Catalog, ColdTable, ScanOrder, SmallTable, State, TableScan};
use crate::domain::{Bound, FlowId, TimeRange, Timestamp};

/// The columns that a scan of segments can be ordered by; the last one against the direction of the others.
const ORDER: [&str; 4] = ["flow_id", "start_seconds", "start_nanoseconds", "start_inclusive"];

/// A table that is in memory whole.
#[derive(Debug)]
pub struct Resident {
    pub state: Arc<State>,
    pub table: SmallTable,
}

#[async_trait]
impl TableProvider for Resident {
    fn schema(&self) -> SchemaRef {
        self.table.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let rows = self.state.small_table(self.table).map_err(external)?;
        MemTable::try_new(self.schema(), vec![vec![rows]])?.scan(session, projection, filters, limit).await
    }
}

/// A table of which most rows are in files.
pub struct LargeTable {
    pub catalog: Catalog,
    pub state: Arc<State>,
    pub table: ColdTable,
}

impl fmt::Debug for LargeTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LargeTable").field(&self.table).finish()
    }
}

#[async_trait]
impl TableProvider for LargeTable {
    fn schema(&self) -> SchemaRef {
        self.table.schema().clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(filters.iter().map(|filter| self.use_of(filter)).collect())
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut scan = TableScan::of(self.table);
        if let Some(projection) = projection {
            let all = std::mem::take(&mut scan.columns);
            scan.columns = projection.iter().filter_map(|column| all.get(*column).cloned()).collect();
        }
        match self.table {
            ColdTable::FlowSegments => {
                scan.flows = wanted_flows(filters);
                scan.timerange = timerange(filters);
            }
            ColdTable::Objects => {
                scan.objects = wanted(filters, |filter| texts(filter, "id")).map(|texts| ids(&texts));
                scan.flows = wanted(filters, |filter| texts(filter, "first_flow")).map(|texts| ids(&texts));
                // Those are all at the place that is read whatever Flows are named.
                if wanted(filters, |filter| texts(filter, "kind")).is_some_and(|kinds| !kinds.contains("media")) {
                    scan.flows = Some(BTreeSet::new());
                }
            }
            ColdTable::References => {}
        }
        scan.limit = limit;
        // A Flow's segments are few enough that their order is worth more than reading them in parts.
        if self.table == ColdTable::FlowSegments && scan.flows.as_ref().is_some_and(|flows| flows.len() <= 1) {
            scan.order = Some(ScanOrder::Forward);
        }
        let partitions = session.config().target_partitions();
        Ok(Arc::new(ScanExec::new(self.catalog.clone(), self.state.clone(), scan, partitions)))
    }
}

impl LargeTable {
    /// Whether the scan leaves out the rows that a filter does, or some of them.
    fn use_of(&self, filter: &Expr) -> TableProviderFilterPushDown {
        let id = match self.table {
            ColdTable::FlowSegments => "flow_id",
            ColdTable::Objects => "id",
            ColdTable::References => return TableProviderFilterPushDown::Unsupported,
        };
        if texts(filter, id).is_some_and(|texts| texts.iter().all(|text| is_plain(self.table, text))) {
            return TableProviderFilterPushDown::Exact;
        }
        let times =
            self.table == ColdTable::FlowSegments && timerange(std::slice::from_ref(filter)) != TimeRange::ETERNITY;
        let brought = self.table == ColdTable::Objects
            && (texts(filter, "first_flow").is_some() || texts(filter, "kind").is_some());
        if times || brought || texts(filter, id).is_some() {
            TableProviderFilterPushDown::Inexact
        } else {
            TableProviderFilterPushDown::Unsupported
        }
    }
}

/// The only Flows whose segments the filters let through.
pub fn wanted_flows(filters: &[Expr]) -> Option<BTreeSet<FlowId>> {
    wanted(filters, |filter| texts(filter, "flow_id")).map(|texts| ids(&texts))
}

/// Whether a scan of [`wanted_flows`] leaves out all that a filter does.
pub fn use_of_flows(filter: &Expr) -> TableProviderFilterPushDown {
    match texts(filter, "flow_id") {
        Some(texts) if texts.iter().all(|text| is_plain(ColdTable::FlowSegments, text)) => {
            TableProviderFilterPushDown::Exact
        }
        Some(_) => TableProviderFilterPushDown::Inexact,
        None => TableProviderFilterPushDown::Unsupported,
    }
}

/// Whether the text is an id as the column has it, so that equal ids are equal texts.
fn is_plain(table: ColdTable, text: &str) -> bool {
    table != ColdTable::FlowSegments || text.parse::<FlowId>().is_ok_and(|id| id.to_string() == text)
}

/// Texts that are no ids are in no row.
fn ids<T: std::str::FromStr + Ord>(texts: &BTreeSet<String>) -> BTreeSet<T> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

/// What all filters that say something leave.
fn wanted(filters: &[Expr], of: impl Fn(&Expr) -> Option<BTreeSet<String>>) -> Option<BTreeSet<String>> {
    filters.iter().filter_map(of).reduce(|one, other| one.intersection(&other).cloned().collect())
}

/// The only values of a column that a filter lets through, if it says nothing else.
fn texts(filter: &Expr, column: &str) -> Option<BTreeSet<String>> {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            let value = match (&**left, &**right) {
                (Expr::Column(name), value) | (value, Expr::Column(name)) if name.name == column => value,
                _ => return None,
            };
            text(value).map(|text| BTreeSet::from([text]))
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            Some(texts(left, column)?.into_iter().chain(texts(right, column)?).collect())
        }
        Expr::InList(list) if !list.negated => match &*list.expr {
            Expr::Column(name) if name.name == column => list.list.iter().map(text).collect(),
            _ => None,
        },
        _ => None,
    }
}

fn text(value: &Expr) -> Option<String> {
    match value {
        Expr::Literal(value, _) => value.try_as_str().flatten().map(str::to_owned),
        _ => None,
    }
}

/// A stretch of the timeline that all segments overlap that the filters let through.
fn timerange(filters: &[Expr]) -> TimeRange {
    filters.iter().fold(TimeRange::ETERNITY, |range, filter| both(range, times(filter)))
}

/// Of two stretches that a segment overlaps: what they have in common, if anything. Where they are apart, a long segment can
/// overlap both, and either says something true of it.
fn both(one: TimeRange, other: TimeRange) -> TimeRange {
    let common = one.intersect(&other);
    if common.is_never() { one } else { common }
}

fn times(filter: &Expr) -> TimeRange {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = filter else { return TimeRange::ETERNITY };
    let (name, op, value) = match (&**left, &**right) {
        _ if *op == Operator::And => return both(times(left), times(right)),
        (Expr::Column(name), Expr::Literal(value, _)) => (&name.name, *op, value),
        (Expr::Literal(value, _), Expr::Column(name)) => match op.swap() {
            Some(op) => (&name.name, op, value),
            None => return TimeRange::ETERNITY,
        },
        _ => return TimeRange::ETERNITY,
    };
    let ScalarValue::Int64(Some(seconds)) = value else { return TimeRange::ETERNITY };
    // A segment that ends with the second before it, exclusively, has it as its end.
    let from = match name.as_str() {
        "start_seconds" => *seconds,
        "end_seconds" => seconds.saturating_sub(1),
        _ => return TimeRange::ETERNITY,
    };
    let (from, to) = match op {
        Operator::Eq => (Some(from), Some(*seconds)),
        Operator::Gt | Operator::GtEq => (Some(from), None),
        Operator::Lt | Operator::LtEq => (None, Some(*seconds)),
        _ => return TimeRange::ETERNITY,
    };
    // What is beyond all times has no bound: too much is let through, and the filter looks again.
    let at = |seconds: i64| Timestamp::from_parts(seconds, 0).map(Bound::inclusive);
    let end = |seconds: i64| Timestamp::from_parts(seconds.saturating_add(1), 0).map(Bound::exclusive);
    TimeRange::new(from.and_then(at), to.and_then(end))
}

/// Reads the rows of a table.
#[derive(Clone)]
struct ScanExec {
    catalog: Catalog,
    state: Arc<State>,
    scan: TableScan,
    /// How many parts of it are read at the same time, at most.
    most: usize,
    parts: usize,
    properties: Arc<PlanProperties>,
    found_out: FoundOut,
}

impl ScanExec {
    fn new(catalog: Catalog, state: Arc<State>, scan: TableScan, most: usize) -> Self {
        let parts = Catalog::scan_parts(&state, &scan, most);
        let mut equivalence = EquivalenceProperties::new(scan.schema());
        if let Some(order) = ordering(&scan) {
            equivalence.add_ordering(order);
        }
        let properties = PlanProperties::new(
            equivalence,
            Partitioning::UnknownPartitioning(parts),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { catalog, state, scan, most, parts, properties: Arc::new(properties), found_out: FoundOut::default() }
    }

    fn with(&self, change: impl FnOnce(&mut TableScan)) -> Self {
        let mut scan = self.scan.clone();
        change(&mut scan);
        let found_out = self.found_out.clone();
        Self { found_out, ..Self::new(self.catalog.clone(), self.state.clone(), scan, self.most) }
    }

    /// The scan with what is known of it by now.
    fn narrowed(&self) -> Result<TableScan> {
        let mut scan = self.scan.clone();
        match scan.table {
            ColdTable::FlowSegments => {
                scan.hint = self.found_out.flows("flow_id")?;
                scan.lenders = self.found_out.texts("object_flow")?;
            }
            ColdTable::Objects => scan.hint = self.found_out.flows("first_flow")?,
            ColdTable::References => {}
        }
        Ok(scan)
    }

    fn rows(&self) -> Precision<usize> {
        let (stored, all_visible) = self.state.stored_rows(self.scan.table);
        let Ok(rows) = usize::try_from(stored) else { return Precision::Absent };
        let TableScan { flows, objects, limit, timerange, .. } = &self.scan;
        if flows.is_none() && objects.is_none() && limit.is_none() && *timerange == TimeRange::ETERNITY && all_visible {
            return Precision::Exact(rows);
        }
        // Joins keep the smaller side in memory: of some Flows, as much as they have on average.
        let each = rows / self.state.flow_count().max(1) + 1;
        let named = flows.as_ref().map_or(rows, |flows| each.saturating_mul(flows.len().max(1)));
        let of_objects = objects.as_ref().map_or(rows, BTreeSet::len);
        Precision::Inexact(named.min(of_objects).min(limit.unwrap_or(rows)).min(rows))
    }
}

/// The order that the rows are in, as far as their columns show it.
fn ordering(scan: &TableScan) -> Option<LexOrdering> {
    let order = scan.order?;
    let one_flow = scan.flows.as_ref().is_some_and(|flows| flows.len() <= 1);
    let schema = scan.schema();
    let mut columns = Vec::new();
    for name in ORDER.into_iter().skip(usize::from(one_flow)) {
        let Ok(index) = schema.index_of(name) else { break };
        let descending = (order == ScanOrder::Backward) != (name == "start_inclusive");
        let options = arrow::compute::SortOptions { descending, nulls_first: false };
        columns.push(PhysicalSortExpr::new(Arc::new(Column::new(name, index)), options));
    }
    LexOrdering::new(columns)
}

/// The order of a scan that gives the wanted order, if there is one.
fn scan_order(scan: &TableScan, wanted: &[PhysicalSortExpr]) -> Option<ScanOrder> {
    if scan.table != ColdTable::FlowSegments {
        return None;
    }
    let one_flow = scan.flows.as_ref().is_some_and(|flows| flows.len() <= 1);
    let is_constant = |expr: &Arc<dyn PhysicalExpr>| {
        let name = (expr.as_ref() as &dyn Any).downcast_ref::<Column>().map(Column::name);
        (expr.as_ref() as &dyn Any).is::<Literal>() || (one_flow && name == Some("flow_id"))
    };
    let wanted = wanted.iter().filter(|wanted| !is_constant(&wanted.expr));
    let mut names = ORDER.into_iter().skip(usize::from(one_flow));
    let mut order = None;
    for wanted in wanted {
        // Starts are unique within a Flow: whatever comes behind all of them orders nothing.
        let Some(expected) = names.next() else { break };
        let column = (wanted.expr.as_ref() as &dyn Any).downcast_ref::<Column>()?;
        let backward = wanted.options.descending != (expected == "start_inclusive");
        let this = if backward { ScanOrder::Backward } else { ScanOrder::Forward };
        if column.name() != expected || order.is_some_and(|order| order != this) {
            return None;
        }
        order = Some(this);
    }
    order
}

impl fmt::Debug for ScanExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScanExec").field("scan", &self.scan).field("parts", &self.parts).finish_non_exhaustive()
    }
}

impl DisplayAs for ScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TableScan { table, columns, flows, timerange, objects, order, limit, hint: _, lenders: _ } = &self.scan;
        write!(f, "CatalogScan: table={}, columns=[{}], parts={}", table.name(), columns.join(", "), self.parts)?;
        if let Some(flows) = flows {
            write!(f, ", flows={}", flows.len())?;
        }
        if *timerange != TimeRange::ETERNITY {
            write!(f, ", timerange={timerange}")?;
        }
        if let Some(objects) = objects {
            write!(f, ", objects={}", objects.len())?;
        }
        if let Some(order) = order {
            write!(f, ", order={order:?}")?;
        }
        if let Some(limit) = limit {
            write!(f, ", limit={limit}")?;
        }
        write!(f, "{}", self.found_out)
    }
}

impl ExecutionPlan for ScanExec {
    fn name(&self) -> &str {
        "CatalogScan"
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

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let (this, schema) = (self.clone(), self.scan.schema());
        // Not before the first row is asked for: joins do that when they have read their other side.
        let batches = stream::once(async move {
            let scan = this.narrowed()?;
            Ok::<_, DataFusionError>(this.catalog.scan_part(this.state, scan, partition, this.parts).map_err(external))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches.try_flatten())))
    }

    fn handle_child_pushdown_result(
        &self,
        phase: FilterPushdownPhase,
        children: ChildPushdownResult,
        _: &ConfigOptions,
    ) -> Result<Propagation> {
        let columns: &[&str] = match self.scan.table {
            ColdTable::FlowSegments => &["flow_id", "object_flow"],
            ColdTable::Objects => &["first_flow"],
            ColdTable::References => &[],
        };
        let (answer, more) = self.found_out.with(phase, &children, columns);
        // What is in order is a Flow's own.
        let Some(found_out) = more.filter(|_| self.scan.order.is_none()) else { return Ok(answer) };
        Ok(answer.with_updated_node(Arc::new(Self { found_out, ..self.clone() })))
    }

    fn partition_statistics(&self, partition: Option<usize>) -> Result<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.scan.schema());
        if partition.is_none() || self.parts == 1 {
            statistics.num_rows = self.rows();
        }
        Ok(Arc::new(statistics))
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        Some(Arc::new(self.with(|scan| scan.limit = limit)))
    }

    fn fetch(&self) -> Option<usize> {
        self.scan.limit
    }

    fn try_pushdown_sort(&self, order: &[PhysicalSortExpr]) -> Result<SortOrderPushdownResult<Arc<dyn ExecutionPlan>>> {
        // What is cut off by a limit depends on the order.
        let order = scan_order(&self.scan, order).filter(|_| self.scan.limit.is_none());
        Ok(match order {
            Some(order) => {
                SortOrderPushdownResult::Exact { inner: Arc::new(self.with(|scan| scan.order = Some(order))) }
            }
            None => SortOrderPushdownResult::Unsupported,
        })
    }
}

pub fn external(error: crate::catalog::ReadError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
