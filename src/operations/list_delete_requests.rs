//! Flow Delete Requests: those being worked off, and for a while those that are done.
//! Spec: GET_flow-delete-requests, GET_flow-delete-requests-request-id

use std::sync::Arc;

use super::OperationError;
use super::page::{Cursor, Page, PageRequest, SortKey};
use crate::catalog::State;
use crate::domain::{DeleteRequest, DeleteRequestId, UtcTime};

/// From newest to oldest; requests without an expiry, as they are not done, come last. `reverse_order` turns it round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeleteRequestSort {
    #[default]
    Created,
    Expiry,
}

pub fn list_delete_requests(
    state: &State,
    now: UtcTime,
    sort: DeleteRequestSort,
    reverse_order: bool,
    page: &PageRequest<Cursor<DeleteRequestId>>,
) -> Page<Arc<DeleteRequest>, Cursor<DeleteRequestId>> {
    let key = |request: &DeleteRequest| match sort {
        DeleteRequestSort::Created => SortKey::Time(request.created),
        DeleteRequestSort::Expiry => request.expiry.map_or(SortKey::Text(None), SortKey::Time),
    };
    super::page::select(
        state.delete_requests(),
        |request: &Arc<DeleteRequest>| Cursor { key: key(request), id: request.id },
        |request| !is_expired(request, now),
        reverse_order,
        page,
    )
}

pub fn get_delete_request(
    state: &State,
    now: UtcTime,
    id: DeleteRequestId,
) -> Result<&Arc<DeleteRequest>, OperationError> {
    let request = state.delete_request(id).filter(|request| !is_expired(request, now));
    request.ok_or(OperationError::DeleteRequestNotFound(id))
}

/// Its row may be there a little longer.
fn is_expired(request: &DeleteRequest, now: UtcTime) -> bool {
    request.expiry.is_some_and(|expiry| expiry <= now)
}
