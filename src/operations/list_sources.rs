//! Sources that match a filter, in a chosen order, a page at a time.
//! Spec: GET_sources

use std::sync::Arc;

use super::page::{Cursor, Page, PageRequest, SortKey};
use super::{CollectedBy, SourceView, TagFilter};
use crate::catalog::State;
use crate::domain::{ContentFormat, Source, SourceId};

#[derive(Debug, Clone, Default)]
pub struct SourceFilter {
    pub label: Option<String>,
    pub format: Option<ContentFormat>,
    pub tags: TagFilter,
    pub collected_by: Option<CollectedBy<SourceId>>,
}

/// Times run from newest to oldest, labels upwards; `reverse_order` turns either round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SourceSort {
    #[default]
    Created,
    Updated,
    Label,
}

pub fn list_sources(
    state: &State,
    filter: &SourceFilter,
    sort: SourceSort,
    reverse_order: bool,
    page: &PageRequest<Cursor<SourceId>>,
) -> Page<SourceView, Cursor<SourceId>> {
    let key = |source: &Source| match sort {
        SourceSort::Created => SortKey::Time(source.created),
        SourceSort::Updated => SortKey::Time(source.updated),
        SourceSort::Label => SortKey::Text(source.label.clone()),
    };
    let sources = super::page::select(
        state.sources(),
        |source: &Arc<Source>| Cursor { key: key(source), id: source.id },
        |source| filter.matches(state, source),
        reverse_order,
        page,
    );
    Page { items: sources.items.iter().map(|source| SourceView::new(state, source)).collect(), next: sources.next }
}

impl SourceFilter {
    fn matches(&self, state: &State, source: &Arc<Source>) -> bool {
        self.format.is_none_or(|format| source.format == format)
            && self.label.as_deref().is_none_or(|label| source.label.as_deref() == Some(label))
            && self.tags.matches(&source.tags)
            && self.collected_by.as_ref().is_none_or(|wanted| {
                let collectors = SourceView::new(state, source).collected_by;
                match wanted {
                    CollectedBy::None => collectors.is_empty(),
                    CollectedBy::Any(ids) => collectors.iter().any(|id| ids.contains(id)),
                }
            })
    }
}
