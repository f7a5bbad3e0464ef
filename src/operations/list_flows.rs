//! Flows that match a filter, in a chosen order, a page at a time.
//! Spec: GET_flows

use std::cell::Cell;
use std::sync::Arc;

use super::page::{Cursor, Page, PageRequest, SortKey};
use super::{FlowView, TagFilter};
use crate::catalog::{ReadError, View};
use crate::domain::{ContentFormat, Flow, FlowId, FlowStatus, ProfileId, SourceId, TimeRange};

#[derive(Debug, Clone, Default)]
pub struct FlowFilter {
    pub source_id: Option<SourceId>,
    /// `()` asks for Flows without segments, anything else for Flows whose extent overlaps it.
    pub timerange: Option<TimeRange>,
    pub format: Option<ContentFormat>,
    pub codec: Option<String>,
    pub profile_id: Option<ProfileId>,
    pub label: Option<String>,
    pub status: Option<FlowStatus>,
    pub tags: TagFilter,
    /// Pixels; video only.
    pub frame_width: Option<u32>,
    /// Pixels; video only.
    pub frame_height: Option<u32>,
    /// Whether the Flow's media needs init objects; a Flow that does not say counts as `false`.
    pub init_segments: Option<bool>,
    pub collected_by: Option<CollectedBy>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CollectedBy<I = FlowId> {
    /// In no collection at all.
    None,
    /// In a collection of at least one of these.
    Any(Vec<I>),
}

/// Times run from newest to oldest, labels upwards; `reverse_order` turns either round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FlowSort {
    #[default]
    Created,
    MetadataUpdated,
    Label,
}

pub fn list_flows(
    state: View<'_>,
    filter: &FlowFilter,
    sort: FlowSort,
    reverse_order: bool,
    page: &PageRequest<Cursor<FlowId>>,
) -> Result<Page<FlowView, Cursor<FlowId>>, ReadError> {
    let key = |flow: &Flow| match sort {
        FlowSort::Created => SortKey::Time(flow.created),
        FlowSort::MetadataUpdated => SortKey::Time(flow.metadata_updated),
        FlowSort::Label => SortKey::Text(flow.label.clone()),
    };
    // Looked at to the end, so that all that is missing is loaded at once.
    let unread = Cell::new(None);
    let flows = super::page::select(
        state.flows(),
        |flow: &Arc<Flow>| Cursor { key: key(flow), id: flow.id },
        |flow| {
            filter.matches(state, flow).unwrap_or_else(|error| {
                unread.set(Some(error));
                false
            })
        },
        reverse_order,
        page,
    );
    match unread.take() {
        Some(error) => Err(error),
        None => {
            let items = flows.items.iter().map(|flow| FlowView::new(&state, flow)).collect();
            Ok(Page { items, next: flows.next })
        }
    }
}

impl FlowFilter {
    fn matches(&self, state: View<'_>, flow: &Flow) -> Result<bool, ReadError> {
        fn holds<T: PartialEq>(wanted: &Option<T>, has: impl FnOnce() -> Option<T>) -> bool {
            wanted.is_none() || *wanted == has()
        }
        let frame = flow.technical.essence.video_frame();
        Ok(holds(&self.source_id, || Some(flow.source_id))
            && holds(&self.format, || Some(flow.format()))
            && holds(&self.status, || flow.status)
            && holds(&self.profile_id, || flow.profile_id)
            && holds(&self.frame_width, || frame.map(|(width, _)| width))
            && holds(&self.frame_height, || frame.map(|(_, height)| height))
            && holds(&self.init_segments, || Some(flow.technical.essence.init_segments().unwrap_or(false)))
            && self
                .codec
                .as_deref()
                .is_none_or(|codec| flow.technical.codec.as_ref().is_some_and(|c| c.as_str() == codec))
            && self.label.as_deref().is_none_or(|label| flow.label.as_deref() == Some(label))
            && self.tags.matches(&flow.tags)
            && match &self.collected_by {
                None => true,
                Some(CollectedBy::None) => state.collectors_of(flow.id).next().is_none(),
                Some(CollectedBy::Any(ids)) => state.collectors_of(flow.id).any(|id| ids.contains(&id)),
            }
            && match self.timerange {
                None => true,
                Some(wanted) => {
                    let extent = state.segments_extent(flow.id, TimeRange::ETERNITY)?;
                    if wanted.is_never() { extent.is_never() } else { extent.overlaps(&wanted) }
                }
            })
    }
}
