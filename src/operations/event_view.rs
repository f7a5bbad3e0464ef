//! What an event of the log speaks of, ready to be shown. Rows are those of the event's own commit; Objects, which give
//! segments their URLs, are those of now.

use std::sync::Arc;

use super::{FlowView, SegmentView, SourceView};
use crate::catalog::{Change, LoggedEvent, State};
use crate::domain::{EventKind, FlowId, FlowSegment, MediaObject, SourceId, TimeRange};

#[derive(Debug, Clone)]
pub enum EventView {
    Flow(FlowView),
    FlowDeleted(FlowId),
    SegmentsAdded(FlowId, Vec<SegmentView>),
    SegmentsDeleted(FlowId, TimeRange),
    Source(SourceView),
    SourceDeleted(SourceId),
}

/// `None` for an event whose rows are not in its entry, which would be damage.
pub fn event_view(state: &State, logged: &LoggedEvent) -> Option<EventView> {
    let event = &*logged.event;
    Some(match event.kind {
        EventKind::FlowCreated | EventKind::FlowUpdated => {
            let flow = logged.rows().find_map(|change| match change {
                Change::PutFlow(flow) => Some(flow),
                _ => None,
            })?;
            EventView::Flow(FlowView {
                collected_by: event.flow_collected_by.clone(),
                segments_updated: event.segments_updated,
                ..FlowView::new(state, flow)
            })
        }
        EventKind::FlowDeleted => EventView::FlowDeleted(event.flow_id?),
        EventKind::SegmentsAdded => {
            let segments = logged.rows().filter_map(|change| match change {
                Change::PutSegment(segment) => Some(segment_view(state, logged, segment)),
                _ => None,
            });
            EventView::SegmentsAdded(event.flow_id?, segments.collect())
        }
        EventKind::SegmentsDeleted => EventView::SegmentsDeleted(event.flow_id?, event.timerange?),
        EventKind::SourceCreated | EventKind::SourceUpdated => {
            let source = logged.rows().find_map(|change| match change {
                Change::PutSource(source) => Some(source),
                _ => None,
            })?;
            let now = SourceView::new(state, source);
            EventView::Source(SourceView { collected_by: event.source_collected_by.clone(), ..now })
        }
        EventKind::SourceDeleted => EventView::SourceDeleted(event.source_id),
    })
}

/// The segment may be gone again, and its Object with it: it was added all the same, only nowhere to be had.
fn segment_view(state: &State, logged: &LoggedEvent, segment: &Arc<FlowSegment>) -> SegmentView {
    SegmentView::new(state, segment).unwrap_or_else(|| SegmentView {
        segment: segment.clone(),
        object: Arc::new(MediaObject {
            id: segment.object_id.clone(),
            kind: None,
            first_flow: segment.flow_id,
            timerange: None,
            key_frame_count: None,
            init_object: None,
            allocation: None,
            instances: Vec::new(),
            condemned_instances: Vec::new(),
            condemned: true,
            created: logged.committed,
        }),
        init_object: None,
    })
}
