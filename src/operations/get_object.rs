//! A registered Object: where its bytes are, and which Flows use it.
//! Spec: GET_objects

use std::sync::Arc;

use super::page::Page;
use super::{OperationError, TagFilter};
use crate::catalog::View;
use crate::domain::{FlowId, MediaObject, ObjectId};

#[derive(Debug, Clone)]
pub struct ObjectView {
    pub object: Arc<MediaObject>,
    pub init_object: Option<Arc<MediaObject>>,
    /// A page of the Flows whose segments use it (of an init object: through its media objects), by id.
    pub referenced_by_flows: Page<FlowId, FlowId>,
}

/// Storage that was only handed out is not an Object yet, and one that lost its last reference is none any more.
pub(super) fn registered_object(view: View<'_>, id: &ObjectId) -> Result<Arc<MediaObject>, OperationError> {
    let not_found = || OperationError::ObjectNotFound(id.clone());
    let object = view.object(id)?.filter(|object| object.is_registered() && !view.is_condemned(id));
    let object = object.ok_or_else(not_found)?;
    // One that lost its last reference may still wait to be collected.
    view.flows_referring_to(id, None).next().transpose()?.ok_or_else(not_found)?;
    Ok(object)
}

/// `flows` chooses by tags among the referring Flows; it does not hide the Object.
pub fn get_object(
    view: View<'_>,
    id: &ObjectId,
    flows: &TagFilter,
    after: Option<FlowId>,
    limit: usize,
) -> Result<ObjectView, OperationError> {
    let object = registered_object(view, id)?;
    let is_wanted = |id: &FlowId| flows.is_empty() || view.flow(*id).is_some_and(|flow| flows.matches(&flow.tags));
    let referring = view
        .flows_referring_to(id, after)
        .filter(|found| found.as_ref().map_or(true, is_wanted))
        .take(limit.saturating_add(1))
        .collect::<Result<Vec<FlowId>, _>>()?;
    let init_object = object.init_object.as_ref().map_or(Ok(None), |id| view.init_object(id))?;
    Ok(ObjectView { object, init_object, referenced_by_flows: Page::cut(referring, limit, |id| *id) })
}
