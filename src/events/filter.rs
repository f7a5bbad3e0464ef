//! Which events somebody wants to be told of. Each filter that is given must hold; in a list, one member is enough.
//! Filters of Flows say nothing about events of Sources.

use crate::domain::{Event, EventKind, FlowId, SourceId, Webhook};

#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    pub events: Vec<EventKind>,
    pub flow_ids: Option<Vec<FlowId>>,
    pub source_ids: Option<Vec<SourceId>>,
    /// Empty: those that nothing collects.
    pub flow_collected_by_ids: Option<Vec<FlowId>>,
    pub source_collected_by_ids: Option<Vec<SourceId>>,
}

impl From<&Webhook> for EventFilter {
    fn from(webhook: &Webhook) -> Self {
        Self {
            events: webhook.events.clone(),
            flow_ids: webhook.flow_ids.clone(),
            source_ids: webhook.source_ids.clone(),
            flow_collected_by_ids: webhook.flow_collected_by_ids.clone(),
            source_collected_by_ids: webhook.source_collected_by_ids.clone(),
        }
    }
}

impl EventFilter {
    pub fn matches(&self, event: &Event) -> bool {
        let of_flow = event.flow_id.is_none_or(|id| {
            self.flow_ids.as_ref().is_none_or(|ids| ids.contains(&id))
                && collected(self.flow_collected_by_ids.as_deref(), &event.flow_collected_by)
        });
        of_flow
            && self.events.contains(&event.kind)
            && self.source_ids.as_ref().is_none_or(|ids| ids.contains(&event.source_id))
            && collected(self.source_collected_by_ids.as_deref(), &event.source_collected_by)
    }
}

fn collected<T: PartialEq>(wanted: Option<&[T]>, by: &[T]) -> bool {
    match wanted {
        None => true,
        Some([]) => by.is_empty(),
        Some(ids) => by.iter().any(|id| ids.contains(id)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(n: u8) -> FlowId {
        FlowId::from_random([n; 16])
    }

    fn source(n: u8) -> SourceId {
        SourceId::from_random([n; 16])
    }

    fn event(kind: EventKind) -> Event {
        Event {
            kind,
            flow_id: (kind != EventKind::SourceUpdated).then(|| flow(1)),
            source_id: source(1),
            flow_collected_by: vec![flow(8)],
            source_collected_by: vec![source(8)],
            timerange: None,
            segments_updated: None,
            changes: Vec::new(),
        }
    }

    fn all() -> EventFilter {
        EventFilter { events: EventKind::ALL.into(), ..EventFilter::default() }
    }

    #[test]
    fn filters_must_all_hold() {
        let added = event(EventKind::SegmentsAdded);
        let with = |flow_ids: &[u8], source_ids: &[u8]| EventFilter {
            flow_ids: Some(flow_ids.iter().copied().map(flow).collect()),
            source_ids: Some(source_ids.iter().copied().map(source).collect()),
            ..all()
        };
        assert!(all().matches(&added));
        assert!(with(&[1, 2], &[1]).matches(&added));
        assert!(!with(&[1], &[2]).matches(&added) && !with(&[2], &[1]).matches(&added));
        assert!(!EventFilter { events: vec![EventKind::FlowCreated], ..all() }.matches(&added));
        assert!(!EventFilter { events: vec![], ..all() }.matches(&added));
    }

    #[test]
    fn filters_of_flows_leave_events_of_sources_alone() {
        let filter = EventFilter { flow_ids: Some(vec![flow(7)]), flow_collected_by_ids: Some(vec![flow(7)]), ..all() };
        assert!(filter.matches(&event(EventKind::SourceUpdated)));
        assert!(!filter.matches(&event(EventKind::FlowUpdated)));
    }

    #[test]
    fn no_collector_is_asked_for_with_an_empty_list() {
        let by = |ids: Vec<FlowId>| EventFilter { flow_collected_by_ids: Some(ids), ..all() };
        let collected = event(EventKind::FlowUpdated);
        let alone = Event { flow_collected_by: vec![], ..collected.clone() };
        assert!(by(vec![flow(8), flow(9)]).matches(&collected) && !by(vec![flow(9)]).matches(&collected));
        assert!(!by(vec![]).matches(&collected) && by(vec![]).matches(&alone));
        let sources = EventFilter { source_collected_by_ids: Some(vec![]), ..all() };
        assert!(!sources.matches(&collected), "the Source is collected");
    }
}
