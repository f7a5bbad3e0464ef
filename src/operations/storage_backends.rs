//! The places where this server keeps media: for now the embedded store alone.
//! Spec: GET_storage-backends

use std::sync::Arc;

use super::{OperationError, Tams};
use crate::catalog::{Change, State};
use crate::domain::{ServiceInfo, StorageId, Tags};

#[derive(Debug, Clone)]
pub struct StorageBackend {
    pub id: StorageId,
    /// Also the label of URLs to its Objects.
    pub label: String,
    pub provider: String,
    pub store_product: String,
    pub default_storage: bool,
    pub tags: Tags,
}

/// Ordered by label.
pub fn storage_backends(tams: &Tams, state: &State) -> Vec<StorageBackend> {
    let embedded = state.service().local_storage_id.map(|id| StorageBackend {
        id,
        label: tams.settings.storage_label.clone(),
        provider: "tamslake".into(),
        store_product: "tamslake".into(),
        default_storage: true,
        tags: Tags::new(),
    });
    embedded.into_iter().collect()
}

/// Gives the embedded store its id, once in the life of a catalogue.
pub async fn ensure_storage_id(tams: &Tams) -> Result<(), OperationError> {
    let fresh = StorageId::from_random(tams.clock.random_bytes());
    tams.catalog
        .commit(256, move |state, _| {
            let service = state.service();
            if service.local_storage_id.is_some() {
                return Ok((Vec::new(), ()));
            }
            let service = ServiceInfo { local_storage_id: Some(fresh), ..service.clone() };
            Ok((vec![Change::PutService(Arc::new(service))], ()))
        })
        .await
}
