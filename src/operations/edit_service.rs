//! Changes what the service says of itself.
//! Spec: POST_service

use std::sync::Arc;

use super::{OperationError, Tams};
use crate::catalog::{Change, State};
use crate::domain::ServiceInfo;

/// What is given replaces; what is not given stays.
#[derive(Debug, Clone, Default)]
pub struct ServiceEdit {
    pub name: Option<String>,
    pub description: Option<String>,
}

pub async fn edit_service(tams: &Tams, edit: ServiceEdit) -> Result<(), OperationError> {
    let texts = [&edit.name, &edit.description].into_iter().flatten();
    let weight = 1_024 + texts.map(String::len).sum::<usize>();
    tams.catalog.commit(weight, move |state, _| Ok((decide(&state, &edit), ()))).await
}

fn decide(state: &State, edit: &ServiceEdit) -> Vec<Change> {
    let old = state.service();
    let service = ServiceInfo {
        name: edit.name.clone().or_else(|| old.name.clone()),
        description: edit.description.clone().or_else(|| old.description.clone()),
        local_storage_id: old.local_storage_id,
    };
    if service == *old { Vec::new() } else { vec![Change::PutService(Arc::new(service))] }
}
