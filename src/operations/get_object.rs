//! A registered Object: where its bytes are, and which Flows use it.
//! Spec: GET_objects

use std::sync::Arc;

use super::page::Page;
use super::{OperationError, TagFilter};
use crate::catalog::State;
use crate::domain::{FlowId, MediaObject, ObjectId};

#[derive(Debug, Clone)]
pub struct ObjectView {
    pub object: Arc<MediaObject>,
    pub init_object: Option<Arc<MediaObject>>,
    /// A page of the Flows whose segments use it (of an init object: through its media objects), by id.
    pub referenced_by_flows: Page<FlowId, FlowId>,
}

/// Storage that was only handed out is not an Object yet, and one that lost its last reference is none any more.
pub(super) fn registered_object<'a>(state: &'a State, id: &ObjectId) -> Result<&'a Arc<MediaObject>, OperationError> {
    state
        .object(id)
        .filter(|object| object.is_registered() && !state.is_condemned(id))
        // An init object goes with its last media object, which may still wait to be collected.
        .filter(|object| state.flows_referring_to(object, None).next().is_some())
        .ok_or_else(|| OperationError::ObjectNotFound(id.clone()))
}

/// `flows` chooses by tags among the referring Flows; it does not hide the Object.
pub fn get_object(
    state: &State,
    id: &ObjectId,
    flows: &TagFilter,
    after: Option<FlowId>,
    limit: usize,
) -> Result<ObjectView, OperationError> {
    let object = registered_object(state, id)?;
    let referring: Vec<FlowId> = state
        .flows_referring_to(object, after)
        .filter(|id| flows.is_empty() || state.flow(*id).is_some_and(|flow| flows.matches(&flow.tags)))
        .take(limit.saturating_add(1))
        .collect();
    Ok(ObjectView {
        object: object.clone(),
        init_object: object.init_object.as_ref().and_then(|id| state.object(id)).cloned(),
        referenced_by_flows: Page::cut(referring, limit, |id| *id),
    })
}
