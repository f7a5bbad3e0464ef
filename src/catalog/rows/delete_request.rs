//! Columns of `flow_delete_requests`.

use serde::{Deserialize, Serialize};

use super::{RowError, times};
use crate::domain::{DeleteRequest, DeleteRequestId, DeleteStatus, FlowId, ObjectId, TimeRange};

#[derive(Debug, Serialize, Deserialize)]
pub struct DeleteRequestRow {
    id: DeleteRequestId,
    flow_id: FlowId,
    timerange_to_delete: TimeRange,
    timerange_remaining: TimeRange,
    delete_flow: bool,
    status: String,
    created: i64,
    created_by: Option<String>,
    updated: i64,
    expiry: Option<i64>,
    object_id: Option<ObjectId>,
}

impl From<&DeleteRequest> for DeleteRequestRow {
    fn from(request: &DeleteRequest) -> Self {
        Self {
            id: request.id,
            flow_id: request.flow_id,
            timerange_to_delete: request.timerange_to_delete,
            timerange_remaining: request.timerange_remaining,
            delete_flow: request.delete_flow,
            status: request.status.word().to_owned(),
            created: times::micros(request.created),
            created_by: request.created_by.clone(),
            updated: times::micros(request.updated),
            expiry: request.expiry.map(times::micros),
            object_id: request.object_id.clone(),
        }
    }
}

impl TryFrom<DeleteRequestRow> for DeleteRequest {
    type Error = RowError;
    fn try_from(row: DeleteRequestRow) -> Result<Self, RowError> {
        Ok(Self {
            id: row.id,
            flow_id: row.flow_id,
            timerange_to_delete: row.timerange_to_delete,
            timerange_remaining: row.timerange_remaining,
            delete_flow: row.delete_flow,
            status: DeleteStatus::from_word(&row.status)
                .ok_or_else(|| RowError(format!("{:?} is no status of a delete request", row.status)))?,
            created: times::utc(row.created)?,
            created_by: row.created_by,
            updated: times::utc(row.updated)?,
            expiry: row.expiry.map(times::utc).transpose()?,
            object_id: row.object_id,
        })
    }
}
