//! Events as JSON.

use serde::Serialize;

use super::webhook::EventWord;
use super::{FlowShape, SegmentShape, SourceShape, Time};
use crate::domain::{FlowId, SourceId, TimeRange};

#[derive(Serialize)]
pub struct EventShape<'a> {
    /// Only in streams.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    pub event_timestamp: Time,
    pub event_type: EventWord,
    pub event: EventBody<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
pub enum EventBody<'a> {
    Flow { flow: Box<FlowShape<'a>> },
    SegmentsAdded { flow_id: FlowId, segments: Vec<SegmentShape<'a>> },
    SegmentsDeleted { flow_id: FlowId, timerange: TimeRange },
    FlowDeleted { flow_id: FlowId },
    Source { source: SourceShape<'a> },
    SourceDeleted { source_id: SourceId },
}
