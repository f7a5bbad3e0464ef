//! Rules of collections, shared by everything that sets one.

use std::collections::{BTreeMap, BTreeSet};

use super::OperationError;
use crate::catalog::State;
use crate::domain::{CollectionItem, FlowId, SourceId};

/// Members must exist; no Flow collects itself, directly or through others; Flows of one Source agree.
pub fn check(
    state: &State,
    flow_id: FlowId,
    source_id: SourceId,
    collection: &[CollectionItem],
) -> Result<(), OperationError> {
    check_members(state, flow_id, collection)?;
    let ours = Members::of(state, collection);
    let others = state.flows_of_source(source_id).filter(|flow| flow.id != flow_id);
    others.filter(|flow| !flow.flow_collection.is_empty()).try_for_each(|flow| {
        ours.check_against(&Members::of(state, &flow.flow_collection))
            .map_err(|(member, what)| OperationError::CollectionConflict { other: flow.id, member, what })
    })
}

/// A collection as its Source shows it: member Sources in order, with the roles that were given.
struct Members<'a> {
    order: Vec<SourceId>,
    roles: BTreeMap<SourceId, BTreeSet<&'a str>>,
}

impl<'a> Members<'a> {
    fn of(state: &State, collection: &'a [CollectionItem]) -> Self {
        let mut members = Self { order: Vec::new(), roles: BTreeMap::new() };
        for item in collection {
            let Some(flow) = state.flow(item.id) else { continue };
            let roles = members.roles.entry(flow.source_id).or_insert_with(|| {
                members.order.push(flow.source_id);
                BTreeSet::new()
            });
            roles.extend(item.role.as_deref());
        }
        members
    }

    /// Members that only one has are no contradiction, nor is a role that only one gives.
    fn check_against(&self, other: &Self) -> Result<(), (SourceId, &'static str)> {
        let shared = |order: &[SourceId]| -> Vec<SourceId> {
            let both = |id: &&SourceId| self.roles.contains_key(id) && other.roles.contains_key(id);
            order.iter().filter(both).copied().collect()
        };
        for id in shared(&self.order) {
            if let (Some(ours), Some(theirs)) = (self.roles.get(&id), other.roles.get(&id))
                && !ours.is_empty()
                && !theirs.is_empty()
                && ours != theirs
            {
                return Err((id, "role"));
            }
        }
        let moved = shared(&self.order).into_iter().zip(shared(&other.order)).find(|(ours, theirs)| ours != theirs);
        moved.map_or(Ok(()), |(ours, _)| Err((ours, "place")))
    }
}

fn check_members(state: &State, flow_id: FlowId, collection: &[CollectionItem]) -> Result<(), OperationError> {
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
