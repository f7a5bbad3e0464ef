//! Deletes the segments of a Flow that lie wholly inside a timerange; with an Object's id, only those that use it.
//! Spec: DELETE_flows-flowId-segments

use std::sync::Arc;

use super::work_off_deletes::Deletion;
use super::{OperationError, Tams};
use crate::catalog::{Change, View};
use crate::domain::{DeleteRequest, DeleteRequestId, FlowId, ObjectId, TimeRange, UtcTime};

/// The request, where deleting goes on after this.
pub async fn delete_segments(
    tams: &Tams,
    flow_id: FlowId,
    timerange: TimeRange,
    object_id: Option<ObjectId>,
) -> Result<Option<Arc<DeleteRequest>>, OperationError> {
    let at_once = tams.settings.max_delete_segments;
    let id = DeleteRequestId::from_random(tams.clock.random_bytes());
    let deletion = Deletion { id, flow_id, timerange, object_id, delete_flow: false };
    let (changed, request) =
        tams.catalog.commit(1_024, move |state, now| decide(state, now, &deletion, at_once)).await?;
    if request.is_some() {
        tams.delete.notify_one();
    } else if changed {
        tams.collect.notify_one();
    }
    Ok(request)
}

type Decided = (Vec<Change>, (bool, Option<Arc<DeleteRequest>>));

fn decide(state: View<'_>, now: UtcTime, deletion: &Deletion, at_once: usize) -> Result<Decided, OperationError> {
    let flow = state.flow(deletion.flow_id).ok_or(OperationError::FlowNotFound(deletion.flow_id))?;
    if flow.read_only {
        return Err(OperationError::ReadOnly(deletion.flow_id));
    }
    let (changes, request) = deletion.decide(state, now, at_once)?;
    let changed = !changes.is_empty();
    Ok((changes, (changed, request)))
}
