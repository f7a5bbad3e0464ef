//! Flows that match a filter, in a chosen order, a page at a time.
//! Spec: GET_flows

use std::sync::Arc;

use super::page::{Cursor, Page, PageRequest, SortKey};
use super::{FlowView, TagFilter};
use crate::catalog::State;
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
    state: &State,
    filter: &FlowFilter,
    sort: FlowSort,
    reverse_order: bool,
    page: &PageRequest<Cursor<FlowId>>,
) -> Page<FlowView, Cursor<FlowId>> {
    let key = |flow: &Flow| match sort {
        FlowSort::Created => SortKey::Time(flow.created),
        FlowSort::MetadataUpdated => SortKey::Time(flow.metadata_updated),
        FlowSort::Label => SortKey::Text(flow.label.clone()),
    };
    let flows = super::page::select(
        state.flows(),
        |flow: &Arc<Flow>| Cursor { key: key(flow), id: flow.id },
        |flow| filter.matches(state, flow),
        reverse_order,
        page,
    );
    Page { items: flows.items.iter().map(|flow| FlowView::new(state, flow)).collect(), next: flows.next }
}

impl FlowFilter {
    fn matches(&self, state: &State, flow: &Flow) -> bool {
        fn holds<T: PartialEq>(wanted: &Option<T>, has: impl FnOnce() -> Option<T>) -> bool {
            wanted.is_none() || *wanted == has()
        }
        let frame = flow.technical.essence.video_frame();
        holds(&self.source_id, || Some(flow.source_id))
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
                Some(wanted) if wanted.is_never() => state.segments_extent(flow.id, TimeRange::ETERNITY).is_never(),
                Some(wanted) => state.segments_extent(flow.id, TimeRange::ETERNITY).overlaps(&wanted),
            }
    }
}
