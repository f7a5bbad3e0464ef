//! Columns of `service`.

use serde::{Deserialize, Serialize};

use crate::domain::{ServiceInfo, StorageId};

#[derive(Debug, Serialize, Deserialize)]
pub struct ServiceRow {
    id: String,
    name: Option<String>,
    description: Option<String>,
    local_storage_id: Option<StorageId>,
}

impl From<&ServiceInfo> for ServiceRow {
    fn from(service: &ServiceInfo) -> Self {
        Self {
            id: "service".into(),
            name: service.name.clone(),
            description: service.description.clone(),
            local_storage_id: service.local_storage_id,
        }
    }
}

impl From<ServiceRow> for ServiceInfo {
    fn from(row: ServiceRow) -> Self {
        Self { name: row.name, description: row.description, local_storage_id: row.local_storage_id }
    }
}
