//! Deletes the segments of a Flow that lie wholly inside a timerange; with an Object's id, only those that use it.
//! Spec: DELETE_flows-flowId-segments

use super::{OperationError, Tams};
use crate::catalog::{Change, SegmentKey, SegmentScan, State};
use crate::domain::{FlowId, ObjectId, TimeRange};

pub async fn delete_segments(
    tams: &Tams,
    flow_id: FlowId,
    timerange: TimeRange,
    object_id: Option<ObjectId>,
) -> Result<(), OperationError> {
    let changed = tams
        .catalog
        .commit(1_024, move |state, _| {
            let changes = decide(state, flow_id, timerange, object_id.as_ref())?;
            let changed = !changes.is_empty();
            Ok::<_, OperationError>((changes, changed))
        })
        .await?;
    if changed {
        tams.collect.notify_one();
    }
    Ok(())
}

fn decide(
    state: &State,
    flow_id: FlowId,
    timerange: TimeRange,
    object_id: Option<&ObjectId>,
) -> Result<Vec<Change>, OperationError> {
    let flow = state.flow(flow_id).ok_or(OperationError::FlowNotFound(flow_id))?;
    if flow.read_only {
        return Err(OperationError::ReadOnly(flow_id));
    }
    let scan = SegmentScan { flow_id, timerange, reverse_order: false, after: None };
    let mut inside = state
        .scan_segments(&scan)
        .filter(|segment| timerange.contains(&segment.timerange))
        .filter(|segment| object_id.is_none_or(|id| segment.object_id == *id));
    Ok(match object_id {
        Some(_) => inside.map(|segment| Change::DeleteSegment(SegmentKey::of(segment))).collect(),
        // However many: one change.
        None => inside.next().map(|_| Change::DeleteSegmentsWithin { flow_id, timerange }).into_iter().collect(),
    })
}
