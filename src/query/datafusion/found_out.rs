//! What joins and the like find out while they run, told to the scans below them: which Flows are of any use.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, CaseExpr, Column, InListExpr, Literal};
use datafusion::physical_expr::utils::{collect_columns, split_conjunction};
use datafusion::physical_expr_common::physical_expr::snapshot_physical_expr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::filter_pushdown::{
    ChildPushdownResult, FilterPushdownPhase, FilterPushdownPropagation, PushedDown,
};
use datafusion::physical_plan::projection::ProjectionExec;

use crate::domain::FlowId;

/// Values of a join's smaller side that are told one by one, and bytes of them. Of more, nobody knows.
pub const MOST_VALUES: usize = 4_096;
pub const MOST_BYTES: usize = 1 << 20;

/// Filters that say more the longer a query runs. Rows that they leave out are of no use.
#[derive(Debug, Clone, Default)]
pub struct FoundOut(Vec<Arc<dyn PhysicalExpr>>);

pub type Propagation = FilterPushdownPropagation<Arc<dyn ExecutionPlan>>;

impl FoundOut {
    /// The answer of a scan to filters from above, and what it knows with those of certain columns if that is more than before.
    /// All stay where they are: what a scan leaves out is what is easily left out.
    pub fn with(
        &self,
        phase: FilterPushdownPhase,
        children: &ChildPushdownResult,
        columns: &[&str],
    ) -> (Propagation, Option<Self>) {
        let filters = &children.parent_filters;
        let answer = FilterPushdownPropagation::with_parent_pushdown_result(vec![PushedDown::No; filters.len()]);
        // What is known before a query runs has come by the table's own filters.
        if phase != FilterPushdownPhase::Post {
            return (answer, None);
        }
        // A join takes the trouble to find something out if anybody listens.
        let of_use = |filter: &Arc<dyn PhysicalExpr>| {
            collect_columns(filter).iter().any(|column| columns.contains(&column.name()))
        };
        let new: Vec<_> =
            filters.iter().map(|filter| &filter.filter).filter(|filter| of_use(filter)).cloned().collect();
        let more = (!new.is_empty()).then(|| Self(self.0.iter().cloned().chain(new).collect()));
        (answer, more)
    }

    /// Whoever finds something out tells it only to plans that name the filter when they are asked for their expressions.
    pub fn visit(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        for filter in &self.0 {
            if visit(filter)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    /// The only values of a column that are of use by what is known now.
    pub fn texts(&self, column: &str) -> Result<Option<BTreeSet<String>>> {
        let mut known: Option<BTreeSet<String>> = None;
        for filter in &self.0 {
            if let Some(texts) = values(&snapshot_physical_expr(filter.clone())?, column) {
                known = Some(match known {
                    Some(others) => others.intersection(&texts).cloned().collect(),
                    None => texts,
                });
            }
        }
        Ok(known)
    }

    /// The same of a column with ids of Flows; what is none is in no row.
    pub fn flows(&self, column: &str) -> Result<Option<BTreeSet<FlowId>>> {
        let texts = self.texts(column)?;
        Ok(texts.map(|texts| texts.iter().filter_map(|text| text.parse().ok()).collect()))
    }
}

/// Columns of scans that what joins find out can be about.
const COLUMNS: [&str; 3] = ["flow_id", "object_flow", "first_flow"];

/// Whether a plan may tell a scan what was found out of another column. DataFusion 55.2 looks for the column of such a filter
/// by its name in each plan that the filter passes, and takes the first (apache/datafusion#25244, mended in #25259): wrong
/// where a plan has rows with two columns of the name. Only names that a Flow's id may have on its way matter.
pub fn may_be_mistaken(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let mut names: BTreeSet<String> = COLUMNS.map(str::to_owned).into();
    loop {
        let known = names.len();
        add_names(plan, &mut names);
        if names.len() == known {
            break;
        }
    }
    has_twice(plan, &names)
}

fn add_names(plan: &Arc<dyn ExecutionPlan>, names: &mut BTreeSet<String>) {
    let any = plan.as_ref() as &dyn std::any::Any;
    let mut add = |expr: &Arc<dyn PhysicalExpr>, name: &str| {
        if collect_columns(expr).iter().any(|column| names.contains(column.name())) {
            names.insert(name.to_owned());
        }
    };
    if let Some(projection) = any.downcast_ref::<ProjectionExec>() {
        projection.expr().iter().for_each(|projected| add(&projected.expr, &projected.alias));
    }
    if let Some(aggregate) = any.downcast_ref::<AggregateExec>() {
        aggregate.group_expr().expr().iter().for_each(|(expr, name)| add(expr, name));
    }
    plan.children().into_iter().for_each(|child| add_names(child, names));
}

fn has_twice(plan: &Arc<dyn ExecutionPlan>, names: &BTreeSet<String>) -> bool {
    let schema = plan.schema();
    let mut seen = BTreeSet::new();
    let fields = schema.fields().iter().map(|field| field.name().as_str()).filter(|name| names.contains(*name));
    fields.into_iter().any(|name| !seen.insert(name))
        || plan.children().into_iter().any(|child| has_twice(child, names))
}

impl fmt::Display for FoundOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|filter| write!(f, ", found out={filter}"))
    }
}

/// The only values of a column that a filter lets through, if it says so of it.
fn values(filter: &Arc<dyn PhysicalExpr>, column: &str) -> Option<BTreeSet<String>> {
    let all = split_conjunction(filter).into_iter().filter_map(|filter| values_of_one(filter, column));
    all.reduce(|one, other| one.intersection(&other).cloned().collect())
}

fn values_of_one(filter: &Arc<dyn PhysicalExpr>, column: &str) -> Option<BTreeSet<String>> {
    let named = |expr: &Arc<dyn PhysicalExpr>| expr.downcast_ref::<Column>().is_some_and(|of| of.name() == column);
    let text = |expr: &Arc<dyn PhysicalExpr>| {
        let value = expr.downcast_ref::<Literal>()?.value();
        value.try_as_str().flatten().map(str::to_owned)
    };
    if let Some(list) = filter.downcast_ref::<InListExpr>() {
        return (!list.negated() && named(list.expr())).then(|| list.list().iter().map(text).collect()).flatten();
    }
    // Of a join in parts: what each part lets through, of rows that fall into it, and nothing of others.
    if let Some(case) = filter.downcast_ref::<CaseExpr>() {
        let lets_none = |expr: &Arc<dyn PhysicalExpr>| {
            expr.downcast_ref::<Literal>().is_some_and(|literal| *literal.value() == ScalarValue::Boolean(Some(false)))
        };
        let thens = case.when_then_expr().iter().map(|(_, then)| then);
        let thens = thens.chain(case.else_expr()).filter(|then| !lets_none(then));
        let all: Option<Vec<_>> = thens.map(|then| values(then, column)).collect();
        return all.map(|all| all.into_iter().flatten().collect());
    }
    let equal = filter.downcast_ref::<BinaryExpr>().filter(|binary| *binary.op() == Operator::Eq)?;
    named(equal.left()).then(|| text(equal.right())).flatten().map(|text| BTreeSet::from([text]))
}
