//! A Source as clients see it: what is stored, and the collections that follow from those of its Flows.
//! Spec: GET_sources-sourceId

use std::collections::BTreeSet;
use std::sync::Arc;

use super::OperationError;
use crate::catalog::State;
use crate::domain::{Source, SourceId};

#[derive(Debug, Clone)]
pub struct SourceView {
    pub source: Arc<Source>,
    /// Sources of the Flows that this Source's Flows collect, with the role, in the order of the collections.
    pub source_collection: Vec<(SourceId, Option<String>)>,
    /// Sources whose Flows collect a Flow of this one, by id.
    pub collected_by: Vec<SourceId>,
}

impl SourceView {
    pub(super) fn new(state: &State, source: &Arc<Source>) -> Self {
        let mut source_collection: Vec<(SourceId, Option<String>)> = Vec::new();
        let mut seen = BTreeSet::new();
        let mut collected_by = BTreeSet::new();
        for flow in state.flows_of_source(source.id) {
            for item in &flow.flow_collection {
                if let Some(member) = state.flow(item.id)
                    && seen.insert((member.source_id, item.role.as_deref()))
                {
                    source_collection.push((member.source_id, item.role.clone()));
                }
            }
            collected_by.extend(
                state.collectors_of(flow.id).filter_map(|id| state.flow(id)).map(|collector| collector.source_id),
            );
        }
        Self { source: source.clone(), source_collection, collected_by: collected_by.into_iter().collect() }
    }
}

pub fn get_source(state: &State, id: SourceId) -> Result<SourceView, OperationError> {
    state.source(id).map(|source| SourceView::new(state, source)).ok_or(OperationError::SourceNotFound(id))
}
