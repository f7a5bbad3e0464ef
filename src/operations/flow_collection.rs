//! Rules of collections, shared by everything that sets one.

use std::collections::BTreeSet;

use super::OperationError;
use crate::catalog::State;
use crate::domain::{CollectionItem, FlowId};

/// Members must exist; no Flow collects itself, directly or through others.
pub fn check(state: &State, flow_id: FlowId, collection: &[CollectionItem]) -> Result<(), OperationError> {
    let mut seen = BTreeSet::new();
    for item in collection {
        if item.id == flow_id {
            return Err(OperationError::CollectsItself(flow_id));
        }
        let member = state.flow(item.id).ok_or(OperationError::MemberNotFound(item.id))?;
        let mut below = vec![member];
        while let Some(flow) = below.pop() {
            for inner in &flow.flow_collection {
                if inner.id == flow_id {
                    return Err(OperationError::CollectionCycle { flow_id, member: item.id });
                }
                if seen.insert(inner.id) {
                    below.extend(state.flow(inner.id));
                }
            }
        }
    }
    Ok(())
}
