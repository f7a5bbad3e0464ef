//! A Flow as clients see it: what was put, and what follows from collections and segments.
//! Spec: GET_flows-flowId

use std::sync::Arc;

use super::OperationError;
use crate::catalog::{ReadError, State, View};
use crate::domain::{Flow, FlowId, TimeRange, UtcTime};

#[derive(Debug, Clone)]
pub struct FlowView {
    pub flow: Arc<Flow>,
    /// Flows that collect this one, by id.
    pub collected_by: Vec<FlowId>,
    /// When segments were last registered or deleted.
    pub segments_updated: Option<UtcTime>,
    /// Filled by [`FlowView::with_timerange`].
    pub timerange: Option<TimeRange>,
}

impl FlowView {
    pub(super) fn new(state: &State, flow: &Arc<Flow>) -> Self {
        Self {
            flow: flow.clone(),
            collected_by: state.collectors_of(flow.id).collect(),
            segments_updated: state.segments_updated(flow.id),
            timerange: None,
        }
    }

    /// Adds the extent, from first start to last end, of the Flow's segments that overlap `within`.
    pub fn with_timerange(mut self, view: View<'_>, within: TimeRange) -> Result<Self, ReadError> {
        self.timerange = Some(view.segments_extent(self.flow.id, within)?);
        Ok(self)
    }
}

pub fn get_flow(state: &State, id: FlowId) -> Result<FlowView, OperationError> {
    state.flow(id).map(|flow| FlowView::new(state, flow)).ok_or(OperationError::FlowNotFound(id))
}
