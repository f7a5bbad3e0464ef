//! What joins and the like find out while they run, told to the scans below them: which Flows are of any use.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, InListExpr, Literal};
use datafusion::physical_expr::utils::split_conjunction;
use datafusion::physical_expr_common::physical_expr::snapshot_physical_expr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter_pushdown::{
    ChildPushdownResult, FilterPushdownPhase, FilterPushdownPropagation, PushedDown,
};

use crate::domain::FlowId;

/// Values of a join's smaller side that are told one by one, and bytes of them. Of more, nobody knows.
pub const MOST_VALUES: usize = 4_096;
pub const MOST_BYTES: usize = 1 << 20;

/// Filters that say more the longer a query runs. Rows that they leave out are of no use.
#[derive(Debug, Clone, Default)]
pub struct FoundOut(Vec<Arc<dyn PhysicalExpr>>);

pub type Propagation = FilterPushdownPropagation<Arc<dyn ExecutionPlan>>;

impl FoundOut {
    /// The answer of a scan to filters from above, and what it knows with them if that is more than before. All stay where
    /// they are: what a scan leaves out is what is easily left out.
    pub fn with(&self, phase: FilterPushdownPhase, children: &ChildPushdownResult) -> (Propagation, Option<Self>) {
        let filters = &children.parent_filters;
        let answer = FilterPushdownPropagation::with_parent_pushdown_result(vec![PushedDown::No; filters.len()]);
        // What is known before a query runs has come by the table's own filters.
        if phase != FilterPushdownPhase::Post || filters.is_empty() {
            return (answer, None);
        }
        let all = self.0.iter().cloned().chain(filters.iter().map(|filter| filter.filter.clone()));
        (answer, Some(Self(all.collect())))
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

    /// The only Flows, by a column, that are of use by what is known now.
    pub fn flows(&self, column: &str) -> Result<Option<BTreeSet<FlowId>>> {
        let mut flows: Option<BTreeSet<FlowId>> = None;
        for filter in &self.0 {
            let filter = snapshot_physical_expr(filter.clone())?;
            for texts in split_conjunction(&filter).into_iter().filter_map(|filter| values(filter, column)) {
                // What is no id is in no row.
                let these = texts.iter().filter_map(|text| text.parse().ok());
                flows = Some(match flows {
                    Some(others) => these.filter(|flow_id| others.contains(flow_id)).collect(),
                    None => these.collect(),
                });
            }
        }
        Ok(flows)
    }
}

impl fmt::Display for FoundOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|filter| write!(f, ", found out={filter}"))
    }
}

/// The only values of a column that a filter lets through, if it says nothing else.
fn values(filter: &Arc<dyn PhysicalExpr>, column: &str) -> Option<BTreeSet<String>> {
    let named = |expr: &Arc<dyn PhysicalExpr>| expr.downcast_ref::<Column>().is_some_and(|of| of.name() == column);
    let text = |expr: &Arc<dyn PhysicalExpr>| {
        let value = expr.downcast_ref::<Literal>()?.value();
        value.try_as_str().flatten().map(str::to_owned)
    };
    if let Some(list) = filter.downcast_ref::<InListExpr>() {
        return (!list.negated() && named(list.expr())).then(|| list.list().iter().map(text).collect()).flatten();
    }
    let equal = filter.downcast_ref::<BinaryExpr>().filter(|binary| *binary.op() == Operator::Eq)?;
    named(equal.left()).then(|| text(equal.right())).flatten().map(|text| BTreeSet::from([text]))
}
