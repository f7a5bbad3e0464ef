//! Where an Object's bytes are: another URL is added, an instance goes. Instances belong to the Object and not to the
//! Flows that use it, and an init object's are its own.
//!
//! The bytes of an instance that this server keeps are condemned in the log before they are deleted; from that commit on
//! nobody is shown them or can read them. The collector works that off.
//! Spec: POST_objects-instances, DELETE_objects-instances

use std::sync::Arc;

use super::get_object::registered_object;
use super::register_segments::is_http_url;
use super::{OperationError, Tams};
use crate::catalog::{Change, View};
use crate::domain::{CondemnedInstance, Instance, MediaObject, ObjectId, StorageId};

#[derive(Debug, Clone)]
pub enum NewInstance {
    /// A copy that the server is to make.
    Controlled {
        storage_id: StorageId,
    },
    Uncontrolled {
        url: String,
        label: String,
    },
}

impl NewInstance {
    /// Bytes that it holds, about.
    fn weight(&self) -> usize {
        match self {
            Self::Controlled { .. } => 1_024,
            Self::Uncontrolled { url, label } => 1_024 + url.len() + label.len(),
        }
    }
}

/// Instances of one Object. Every segment that uses it shows them all.
const MAX_INSTANCES: usize = 100;

pub async fn add_instance(tams: &Tams, object_id: ObjectId, instance: NewInstance) -> Result<(), OperationError> {
    let backend_label = tams.settings.storage_label.clone();
    tams.catalog
        .commit(instance.weight(), move |state, _| Ok((decide_add(state, &backend_label, &object_id, &instance)?, ())))
        .await
}

fn decide_add(
    state: View<'_>,
    backend_label: &str,
    object_id: &ObjectId,
    instance: &NewInstance,
) -> Result<Vec<Change>, OperationError> {
    let object = registered_object(state, object_id)?;
    let object_id = || object_id.clone();
    match instance {
        NewInstance::Controlled { storage_id } => {
            let storage_id = *storage_id;
            if state.service().local_storage_id != Some(storage_id) {
                return Err(OperationError::StorageNotFound(storage_id));
            }
            if object.controlled().any(|(has, _)| has == storage_id) {
                return Err(OperationError::InstanceExists { object_id: object_id(), storage_id });
            }
            // There is one backend, so there is no other copy to take it from.
            Err(OperationError::NothingToCopy { object_id: object_id(), storage_id })
        }
        NewInstance::Uncontrolled { url, label } => {
            if label == backend_label {
                return Err(OperationError::LabelOfBackend(label.clone()));
            }
            if object.instances.iter().any(|known| label_of(known, backend_label) == Some(label)) {
                return Err(OperationError::LabelTaken { object_id: object_id(), label: label.clone() });
            }
            if object.instances.len() >= MAX_INSTANCES {
                return Err(OperationError::TooManyInstances(object_id(), MAX_INSTANCES));
            }
            if !is_http_url(url) {
                return Err(OperationError::NotAUrl(url.chars().take(128).collect()));
            }
            let mut object = MediaObject::clone(&object);
            object.instances.push(Instance::Uncontrolled { url: url.clone(), label: Some(label.clone()) });
            Ok(vec![Change::PutObject(Arc::new(object))])
        }
    }
}

/// The instance is named by its storage backend or by its label, as texts that need not name anything.
pub async fn delete_instance(
    tams: &Tams,
    object_id: ObjectId,
    storage_id: Option<String>,
    label: Option<String>,
) -> Result<(), OperationError> {
    let backend_label = tams.settings.storage_label.clone();
    tams.catalog
        .commit(2_048, move |state, _| {
            let changes = decide_delete(state, &backend_label, &object_id, storage_id.as_deref(), label.as_deref())?;
            Ok::<_, OperationError>((changes, ()))
        })
        .await?;
    tams.collect.notify_one();
    Ok(())
}

fn decide_delete(
    state: View<'_>,
    backend_label: &str,
    object_id: &ObjectId,
    storage_id: Option<&str>,
    label: Option<&str>,
) -> Result<Vec<Change>, OperationError> {
    let mut object = MediaObject::clone(&*registered_object(state, object_id)?);
    let backend: Option<StorageId> = storage_id.and_then(|id| id.parse().ok());
    let wanted = match (storage_id, label) {
        (Some(wanted), None) | (None, Some(wanted)) => wanted,
        _ => return Err(OperationError::InstanceChoice),
    };
    let is_wanted = |instance: &Instance| match label {
        Some(_) => label_of(instance, backend_label) == label,
        None => backend.is_some() && backend_of(instance) == backend,
    };
    let (gone, left): (Vec<Instance>, Vec<Instance>) = object.instances.into_iter().partition(is_wanted);
    if gone.is_empty() {
        let wanted = wanted.chars().take(128).collect();
        return Err(OperationError::InstanceNotFound { object_id: object_id.clone(), wanted });
    }
    if left.is_empty() {
        return Err(OperationError::LastInstance(object_id.clone()));
    }
    object.instances = left;
    object.condemned_instances.extend(gone.into_iter().filter_map(|instance| match instance {
        Instance::Controlled { storage_id, key } => Some(CondemnedInstance { storage_id, key }),
        // Somebody else keeps those bytes.
        Instance::Uncontrolled { .. } => None,
    }));
    Ok(vec![Change::PutObject(Arc::new(object))])
}

fn backend_of(instance: &Instance) -> Option<StorageId> {
    match instance {
        Instance::Controlled { storage_id, .. } => Some(*storage_id),
        Instance::Uncontrolled { .. } => None,
    }
}

/// As get_urls show it.
fn label_of<'a>(instance: &'a Instance, backend_label: &'a str) -> Option<&'a str> {
    match instance {
        Instance::Controlled { .. } => Some(backend_label),
        Instance::Uncontrolled { label, .. } => label.as_deref(),
    }
}
