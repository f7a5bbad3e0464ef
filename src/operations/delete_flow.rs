//! Deletes a Flow: its segments, its place in collections, and its Source if it was the last. Its members stay.
//! Spec: DELETE_flows-flowId

use super::edit_flow::touched;
use super::put_flow::orphaned_source;
use super::{OperationError, Tams};
use crate::catalog::{Change, State};
use crate::domain::{Flow, FlowId, TimeRange, UtcTime};

pub async fn delete_flow(tams: &Tams, id: FlowId) -> Result<(), OperationError> {
    tams.catalog.commit(1_024, move |state, now| Ok::<_, OperationError>((decide(state, now, id)?, ()))).await?;
    tams.collect.notify_one();
    Ok(())
}

fn decide(state: &State, now: UtcTime, id: FlowId) -> Result<Vec<Change>, OperationError> {
    let flow = state.flow(id).ok_or(OperationError::FlowNotFound(id))?;
    if flow.read_only {
        return Err(OperationError::ReadOnly(id));
    }
    let mut changes = Vec::new();
    if !state.segments_extent(id, TimeRange::ETERNITY).is_never() {
        changes.push(Change::DeleteSegmentsWithin { flow_id: id, timerange: TimeRange::ETERNITY });
    }
    // Derived, so a read-only collector loses its member too.
    for collector in state.collectors_of(id).filter_map(|collector| state.flow(collector)) {
        let mut collector = Flow::clone(collector);
        collector.flow_collection.retain(|item| item.id != id);
        changes.push(touched(collector, now));
    }
    changes.push(Change::DeleteFlow(id));
    changes.extend(orphaned_source(state, flow));
    Ok(changes)
}
