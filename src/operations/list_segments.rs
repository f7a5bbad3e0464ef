//! Segments of a Flow in timeline order, a page at a time, with the Objects that hold their media.
//! Spec: GET_flows-flowId-segments

use std::sync::Arc;

use super::page::Page;
use crate::catalog::{SegmentScan, State};
use crate::domain::{FlowId, FlowSegment, MediaObject, ObjectId, TimeRange};

#[derive(Debug, Clone)]
pub struct SegmentFilter {
    pub flow_id: FlowId,
    /// Segments that overlap it, wholly or in part; they are returned whole.
    pub timerange: TimeRange,
    pub object_id: Option<ObjectId>,
    /// From the end of the timeline backwards.
    pub reverse_order: bool,
    /// Start key ([`TimeRange::start_key`]) of the last segment of the page before.
    pub after: Option<i128>,
    pub limit: usize,
}

#[derive(Debug, Clone)]
pub struct SegmentView {
    pub segment: Arc<FlowSegment>,
    pub object: Arc<MediaObject>,
    pub init_object: Option<Arc<MediaObject>>,
}

/// Segments of an unknown Flow are none, as the specification has it. The page's cursor is a start key.
pub fn list_segments(state: &State, filter: &SegmentFilter) -> Page<SegmentView, i128> {
    let scan = SegmentScan {
        flow_id: filter.flow_id,
        timerange: filter.timerange,
        reverse_order: filter.reverse_order,
        after: filter.after,
    };
    let items: Vec<SegmentView> = state
        .scan_segments(&scan)
        .filter(|segment| filter.object_id.as_ref().is_none_or(|id| *id == segment.object_id))
        .filter_map(|segment| SegmentView::new(state, segment))
        .take(filter.limit.saturating_add(1))
        .collect();
    Page::cut(items, filter.limit, |view| view.segment.timerange.start_key())
}

impl SegmentView {
    /// `None` cannot happen: a segment keeps its Object in the catalogue.
    pub(super) fn new(state: &State, segment: &Arc<FlowSegment>) -> Option<Self> {
        let object = state.object(&segment.object_id)?.clone();
        let init_object = object.init_object.as_ref().and_then(|id| state.object(id)).cloned();
        Some(Self { segment: segment.clone(), object, init_object })
    }
}
