//! Hands out storage for new Objects of a Flow: all that were asked for, or none.
//! Spec: POST_flows-flowId-storage

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{OperationError, Settings, Tams};
use crate::catalog::{Change, View, read_all};
use crate::domain::{Allocation, FlowId, Instance, MediaObject, MimeType, ObjectId, StorageId, UtcTime};

const DEFAULT_LIMIT: u32 = 1;
/// Objects in one request, at most; a larger `limit` is cut to it.
pub const MAX_LIMIT: u32 = 1_000;

#[derive(Debug, Clone, Default)]
pub struct StorageRequest {
    /// How many Objects, with ids that the server makes; not together with `object_ids`.
    pub limit: Option<u32>,
    pub object_ids: Option<Vec<ObjectId>>,
    pub storage_id: Option<StorageId>,
    /// Where it differs from the Flow's container, as of init objects.
    pub content_type: Option<MimeType>,
}

#[derive(Debug, Clone)]
pub struct AllocatedObject {
    pub object_id: ObjectId,
    /// Names the bytes on the backend.
    pub key: String,
    pub content_type: MimeType,
    /// When it is collected unless it was registered.
    pub expires: UtcTime,
}

pub async fn allocate_storage(
    tams: &Tams,
    flow_id: FlowId,
    request: StorageRequest,
) -> Result<Vec<AllocatedObject>, OperationError> {
    let object_ids = match request.object_ids {
        Some(ids) => ids,
        None => {
            let count = request.limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
            (0..count).map(|_| random_id(tams)).collect::<Result<_, _>>()?
        }
    };
    let wanted = object_ids;
    let settings = tams.settings.clone();
    tams.catalog
        .commit(512 * wanted.len() + 512, move |state, now| {
            decide(state, now, &settings, flow_id, &wanted, request.storage_id, request.content_type.as_ref())
        })
        .await
}

fn random_id(tams: &Tams) -> Result<ObjectId, OperationError> {
    // A UUID's text is a valid Object id.
    let text = StorageId::from_random(tams.clock.random_bytes()).to_string();
    text.parse().map_err(|_| OperationError::ObjectsExist(Vec::new()))
}

fn decide(
    state: View<'_>,
    now: UtcTime,
    settings: &Settings,
    flow_id: FlowId,
    wanted: &[ObjectId],
    storage_id: Option<StorageId>,
    content_type: Option<&MimeType>,
) -> Result<(Vec<Change>, Vec<AllocatedObject>), OperationError> {
    let flow = state.flow(flow_id).ok_or(OperationError::FlowNotFound(flow_id))?;
    if flow.read_only {
        return Err(OperationError::ReadOnly(flow_id));
    }
    let container = flow.technical.container.as_ref().ok_or(OperationError::NoContainer(flow_id))?;
    let content_type = content_type.unwrap_or(container);
    let local = state.service().local_storage_id.ok_or(OperationError::NoStorage)?;
    if let Some(unknown) = storage_id.filter(|id| *id != local) {
        return Err(OperationError::StorageNotFound(unknown));
    }
    let mut seen = BTreeSet::new();
    if let Some(twice) = wanted.iter().find(|id| !seen.insert(*id)) {
        return Err(OperationError::ObjectTwice(twice.clone()));
    }
    let known = read_all(wanted.iter().map(|id| state.object(id)))?;
    let taken: Vec<ObjectId> = known.into_iter().flatten().map(|object| object.id.clone()).collect();
    if !taken.is_empty() {
        return Err(OperationError::ObjectsExist(taken));
    }
    let expires = now + settings.object_timeout;
    let allocated = wanted.iter().map(|object_id| AllocatedObject {
        object_id: object_id.clone(),
        key: MediaObject::own_key(object_id, now),
        content_type: content_type.clone(),
        expires,
    });
    let changes = wanted.iter().map(|id| {
        Change::PutObject(Arc::new(MediaObject {
            id: id.clone(),
            kind: None,
            first_flow: flow_id,
            timerange: None,
            key_frame_count: None,
            init_object: None,
            allocation: Some(Allocation { content_type: content_type.clone(), expires }),
            instances: vec![Instance::Controlled { storage_id: local, key: MediaObject::own_key(id, now) }],
            condemned_instances: Vec::new(),
            condemned: false,
            created: now,
            size_bytes: None,
        }))
    });
    Ok((changes.collect(), allocated.collect()))
}
