//! Flow Delete Requests as JSON.

use serde::Serialize;

use super::text::{DeleteStatusWord, Time};
use crate::domain::{DeleteRequest, DeleteRequestId, FlowId, TimeRange};

shape! {
    /// A deletion that takes longer than one answer, and how far it has come.
    #[derive(Serialize)]
    struct DeleteRequestShape<'a> as "DeletionRequest" {
        required {
            id as "id": DeleteRequestId,
            flow_id as "flow_id": FlowId,
            /// As it was asked for.
            timerange_to_delete as "timerange_to_delete": TimeRange,
            /// Whether the Flow goes too; it is gone for readers already.
            delete_flow as "delete_flow": bool,
            status as "status": DeleteStatusWord,
        }
        optional {
            /// What is still to be deleted; () when done.
            timerange_remaining as "timerange_remaining": TimeRange,
            created as "created": Time,
            created_by as "created_by": &'a str,
            /// When it last got on.
            updated as "updated": Time,
            /// When a finished request is forgotten.
            expiry as "expiry": Time,
        }
    }
}

impl<'a> From<&'a DeleteRequest> for DeleteRequestShape<'a> {
    fn from(request: &'a DeleteRequest) -> Self {
        Self {
            id: request.id,
            flow_id: request.flow_id,
            timerange_to_delete: request.timerange_to_delete,
            delete_flow: request.delete_flow,
            status: DeleteStatusWord(request.status),
            timerange_remaining: Some(request.timerange_remaining),
            created: Some(Time(request.created)),
            created_by: request.created_by.as_deref(),
            updated: Some(Time(request.updated)),
            expiry: request.expiry.map(Time),
        }
    }
}
