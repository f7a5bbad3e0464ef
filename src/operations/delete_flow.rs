//! Deletes a Flow: its segments, its place in collections, and its Source if it was the last. Its members stay.
//!
//! The Flow is gone with the first commit, whether or not its segments all go with it; until they have, its id is taken.
//! Spec: DELETE_flows-flowId

use std::sync::Arc;

use super::edit_flow::touched;
use super::put_flow::orphaned_source;
use super::work_off_deletes::Deletion;
use super::{OperationError, Tams};
use crate::catalog::{Change, View};
use crate::domain::{DeleteRequest, DeleteRequestId, Flow, FlowId, TimeRange, UtcTime};

/// The request, where deleting goes on after this.
pub async fn delete_flow(tams: &Tams, id: FlowId) -> Result<Option<Arc<DeleteRequest>>, OperationError> {
    let at_once = tams.settings.max_delete_segments;
    let deletion = Deletion {
        id: DeleteRequestId::from_random(tams.clock.random_bytes()),
        flow_id: id,
        timerange: TimeRange::ETERNITY,
        object_id: None,
        delete_flow: true,
    };
    let request = tams.catalog.commit(1_024, move |state, now| decide(state, now, &deletion, at_once)).await?;
    tams.collect.notify_one();
    if request.is_some() {
        tams.delete.notify_one();
    }
    Ok(request)
}

type Decided = (Vec<Change>, Option<Arc<DeleteRequest>>);

fn decide(state: View<'_>, now: UtcTime, deletion: &Deletion, at_once: usize) -> Result<Decided, OperationError> {
    let id = deletion.flow_id;
    let flow = state.flow(id).ok_or(OperationError::FlowNotFound(id))?;
    if flow.read_only {
        return Err(OperationError::ReadOnly(id));
    }
    let (mut changes, request) = deletion.decide(state, now, at_once)?;
    // Derived, so a read-only collector loses its member too.
    for collector in state.collectors_of(id).filter_map(|collector| state.flow(collector)) {
        let mut collector = Flow::clone(collector);
        collector.flow_collection.retain(|item| item.id != id);
        changes.push(touched(collector, now));
    }
    changes.push(Change::DeleteFlow(id));
    changes.extend(orphaned_source(&state, flow));
    Ok((changes, request))
}
