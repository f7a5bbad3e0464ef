//! Segments of a Flow in timeline order, a page at a time, with the Objects that hold their media.
//! Spec: GET_flows-flowId-segments

use std::sync::Arc;

use super::page::Page;
use crate::catalog::{ReadError, SegmentScan, View, read_all};
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
pub fn list_segments(view: View<'_>, filter: &SegmentFilter) -> Result<Page<SegmentView, i128>, ReadError> {
    let scan = SegmentScan {
        flow_id: filter.flow_id,
        timerange: filter.timerange,
        reverse_order: filter.reverse_order,
        after: filter.after,
    };
    let wanted = filter.limit.saturating_add(1);
    let segments = match &filter.object_id {
        None => view.scan_segments(&scan),
        Some(id) => view.segments_using(&scan, id),
    };
    let segments = segments.take(wanted).collect::<Result<Vec<_>, _>>()?;
    let items = read_all(segments.iter().map(|segment| SegmentView::new(view, segment)))?;
    let items = items.into_iter().flatten().collect();
    Ok(Page::cut(items, filter.limit, |view: &SegmentView| view.segment.timerange.start_key()))
}

impl SegmentView {
    /// `None` cannot happen: a segment keeps its Object in the catalogue.
    pub(super) fn new(view: View<'_>, segment: &Arc<FlowSegment>) -> Result<Option<Self>, ReadError> {
        let Some(object) = view.object_of(segment)? else { return Ok(None) };
        let init_object = object.init_object.as_ref().map_or(Ok(None), |id| view.init_object(id))?;
        Ok(Some(Self { segment: segment.clone(), object, init_object }))
    }
}
