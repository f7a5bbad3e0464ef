//! What an event of the log speaks of, ready to be shown. Rows are those of the event's own commit; Objects, which give
//! segments their URLs, are those of now.

use std::sync::Arc;

use super::{FlowView, SegmentView, SourceView};
use crate::catalog::{Change, LoggedEvent, ReadError, View};
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
pub fn event_view(view: View<'_>, logged: &LoggedEvent) -> Result<Option<EventView>, ReadError> {
    let event = &*logged.event;
    Ok(match event.kind {
        EventKind::FlowCreated | EventKind::FlowUpdated => {
            let mut flows = logged.rows().filter_map(|change| match change {
                Change::PutFlow(flow) => Some(flow),
                _ => None,
            });
            flows.next().map(|flow| {
                EventView::Flow(FlowView {
                    collected_by: event.flow_collected_by.clone(),
                    segments_updated: event.segments_updated,
                    ..FlowView::new(&view, flow)
                })
            })
        }
        EventKind::FlowDeleted => event.flow_id.map(EventView::FlowDeleted),
        EventKind::SegmentsAdded => {
            let segments = logged.rows().filter_map(|change| match change {
                Change::PutSegment(segment) => Some(segment_view(view, logged, segment)),
                _ => None,
            });
            let segments = segments.collect::<Result<Vec<_>, _>>()?;
            event.flow_id.map(|flow_id| EventView::SegmentsAdded(flow_id, segments))
        }
        EventKind::SegmentsDeleted => {
            event.flow_id.zip(event.timerange).map(|(id, timerange)| EventView::SegmentsDeleted(id, timerange))
        }
        EventKind::SourceCreated | EventKind::SourceUpdated => {
            let mut sources = logged.rows().filter_map(|change| match change {
                Change::PutSource(source) => Some(source),
                _ => None,
            });
            sources.next().map(|source| {
                let now = SourceView::new(&view, source);
                EventView::Source(SourceView { collected_by: event.source_collected_by.clone(), ..now })
            })
        }
        EventKind::SourceDeleted => Some(EventView::SourceDeleted(event.source_id)),
    })
}

/// The segment may be gone again, and its Object with it: it was added all the same, only nowhere to be had.
fn segment_view(view: View<'_>, logged: &LoggedEvent, segment: &Arc<FlowSegment>) -> Result<SegmentView, ReadError> {
    Ok(SegmentView::new(view, segment)?.unwrap_or_else(|| SegmentView {
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
            size_bytes: None,
        }),
        init_object: None,
    }))
}
