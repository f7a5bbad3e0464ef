//! Joins that compare every row with every row: they look up between two pieces of work, so that they can be stopped.
//!
//! DataFusion gives such a join a whole batch of one side at a time, and ten million rows of the other times eight thousand are
//! minutes without a look at the clock. Here it gets as many rows as make a fraction of a second.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::joins::{CrossJoinExec, NestedLoopJoinExec};
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, SendableRecordBatchStream,
};
use futures::{StreamExt, TryStreamExt, stream};

/// Pairs of rows that are compared before the next look up, about.
const PAIRS: usize = 50_000_000;
const FEWEST_ROWS: usize = 16;
const RECOMPUTE: ReplaceChildrenOptions = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);

/// The plan with its joins of every row with every row made patient.
pub fn make_patient(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let change = |plan: Arc<dyn ExecutionPlan>| {
        let any = plan.as_ref() as &dyn std::any::Any;
        if !any.is::<NestedLoopJoinExec>() && !any.is::<CrossJoinExec>() {
            return Ok(Transformed::no(plan));
        }
        let [left, right] = &plan.children()[..] else { return Ok(Transformed::no(plan)) };
        let rows = match StatisticsContext::new().compute(left.as_ref(), &StatisticsArgs::new())?.num_rows {
            Precision::Exact(rows) | Precision::Inexact(rows) => (PAIRS / rows.max(1)).max(FEWEST_ROWS),
            Precision::Absent => FEWEST_ROWS,
        };
        let right: Arc<dyn ExecutionPlan> = Arc::new(SliceExec { input: (*right).clone(), rows });
        let left = (*left).clone();
        Ok(Transformed::yes(plan.replace_children(vec![left, right], RECOMPUTE)?))
    };
    plan.transform_up(change).data()
}

/// Hands its input on in pieces of a few rows, with a pause for others between them.
#[derive(Debug)]
struct SliceExec {
    input: Arc<dyn ExecutionPlan>,
    rows: usize,
}

impl DisplayAs for SliceExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SliceExec: rows={}", self.rows)
    }
}

impl ExecutionPlan for SliceExec {
    fn name(&self) -> &str {
        "SliceExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.into_iter().next().unwrap_or_else(|| self.input.clone());
        Ok(Arc::new(Self { input, rows: self.rows }))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, RECOMPUTE)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let (schema, rows) = (self.input.schema(), self.rows);
        let batches = self.input.execute(partition, context)?;
        let slices = batches.map_ok(move |batch| slices(batch, rows)).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, slices)))
    }
}

fn slices(batch: RecordBatch, rows: usize) -> impl futures::Stream<Item = Result<RecordBatch>> {
    let starts: Vec<usize> = (0..batch.num_rows()).step_by(rows).collect();
    stream::iter(starts).then(move |start| {
        let slice = batch.slice(start, rows.min(batch.num_rows() - start));
        async move {
            tokio::task::yield_now().await;
            Ok(slice)
        }
    })
}
