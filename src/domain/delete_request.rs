//! A Flow Delete Request: a deletion too long for one answer, and how far it has come. It outlives its Flow for a while.

use super::{DeleteRequestId, FlowId, FlowSegment, ObjectId, TimeRange, UtcTime};

#[derive(Debug, Clone, PartialEq)]
pub struct DeleteRequest {
    pub id: DeleteRequestId,
    pub flow_id: FlowId,
    /// As it was asked for.
    pub timerange_to_delete: TimeRange,
    /// What is still to be deleted; never when done.
    pub timerange_remaining: TimeRange,
    /// Whether the Flow goes too, once its segments are gone.
    pub delete_flow: bool,
    pub status: DeleteStatus,
    pub created: UtcTime,
    pub created_by: Option<String>,
    pub updated: UtcTime,
    /// When a finished request is forgotten.
    pub expiry: Option<UtcTime>,
    /// Only segments that use this Object go.
    pub object_id: Option<ObjectId>,
}

impl DeleteRequest {
    pub fn is_done(&self) -> bool {
        self.status == DeleteStatus::Done
    }

    /// Whether the request is about segments of this Object.
    pub fn is_about(&self, object_id: &ObjectId) -> bool {
        self.object_id.as_ref().is_none_or(|wanted| wanted == object_id)
    }

    /// Whether the segment, one of its Flow, is still to be deleted.
    pub fn covers(&self, segment: &FlowSegment) -> bool {
        self.timerange_remaining.contains(&segment.timerange) && self.is_about(&segment.object_id)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteStatus {
    Created,
    Started,
    Done,
}

impl DeleteStatus {
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Started => "started",
            Self::Done => "done",
        }
    }

    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Created, Self::Started, Self::Done].into_iter().find(|status| status.word() == word)
    }
}
