//! What the service says of itself, and the storage that it was first started with.

use super::StorageId;

#[derive(Debug, Clone, PartialEq, Default)]
pub struct ServiceInfo {
    pub name: Option<String>,
    pub description: Option<String>,
    /// The embedded backend's id, made at the first start.
    pub local_storage_id: Option<StorageId>,
}
