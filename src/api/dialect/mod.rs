//! The versions of TAMS that are spoken here. 8.2 is what handlers and operations know; 7.0 is a view of it, by the same
//! handlers: `v7` changes what they show and what is read from clients, `versions` finds out which of the two a request
//! speaks. A request that speaks 8.2 pays one comparison a request or an item for it.
//!
//! docs/adr/0004-dialects.md says why, and what is lost in translation.

mod v7;
mod v7_webhooks;
mod versions;

use std::borrow::Cow;

use poem::{FromRequest, Request, RequestBody};

use super::error::ApiError;
use crate::catalog::State;
use crate::domain::{CollectionItem, TagValue, Tags};
use crate::operations::{FlowEditMeaning, FlowMeaning, FlowView, SourceEditMeaning, SourceView, StorageBackend};

pub use crate::domain::Dialect;
pub use versions::Versions;

/// Left with a request whose path named a version.
#[derive(Debug, Clone, Copy)]
struct Spoken(Dialect);

impl<'a> FromRequest<'a> for Dialect {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        Ok(Self::of(request))
    }
}

impl Dialect {
    pub fn of(request: &Request) -> Self {
        request.data::<Spoken>().map_or(Self::default(), |spoken| spoken.0)
    }

    /// The prefix that the path of this request named, as it stands before the paths of links.
    pub fn prefix_of(request: &Request) -> &'static str {
        request.data::<Spoken>().map_or("", |spoken| spoken.0.prefix())
    }

    pub fn prefix(self) -> &'static str {
        match self {
            Self::V8_2 => "/v8.2",
            Self::V7_0 => "/v7.0",
        }
    }

    /// Whether URLs of bytes that somebody else keeps need a label.
    pub fn requires_labels(self) -> bool {
        self == Self::V8_2
    }

    /// Whether video says its frame rate, or that it varies.
    pub fn requires_frame_rate(self) -> bool {
        self == Self::V8_2
    }

    /// Whether `tag.x=a,b` asks for `a` or `b`. If not, it asks for the one text `a,b`.
    pub fn splits_tag_filters(self) -> bool {
        self == Self::V8_2
    }

    /// Whether the codec filter takes only media types whose first part is registered.
    pub fn has_strict_codec_filter(self) -> bool {
        self == Self::V8_2
    }

    pub fn flow<'a>(self, state: &State, view: &'a FlowView) -> Cow<'a, FlowView> {
        match self {
            Self::V8_2 => Cow::Borrowed(view),
            Self::V7_0 => Cow::Owned(v7::flow(state, view)),
        }
    }

    pub fn source<'a>(self, state: &State, view: &'a SourceView) -> Cow<'a, SourceView> {
        match self {
            Self::V8_2 => Cow::Borrowed(view),
            Self::V7_0 => Cow::Owned(v7::source(state, view)),
        }
    }

    pub fn tags(self, tags: &Tags) -> Cow<'_, Tags> {
        match self {
            Self::V8_2 => Cow::Borrowed(tags),
            Self::V7_0 => Cow::Owned(v7::tags(tags)),
        }
    }

    pub fn tag(self, value: &TagValue) -> Cow<'_, TagValue> {
        match self {
            Self::V8_2 => Cow::Borrowed(value),
            Self::V7_0 => Cow::Owned(v7::tag(value)),
        }
    }

    pub fn collection<'a>(self, state: &State, items: &'a [CollectionItem]) -> Cow<'a, [CollectionItem]> {
        match self {
            Self::V8_2 => Cow::Borrowed(items),
            Self::V7_0 => Cow::Owned(v7::collection(state, items)),
        }
    }

    /// A storage backend by itself or as the place of a URL.
    pub fn backend(self, backend: StorageBackend) -> StorageBackend {
        match self {
            Self::V8_2 => backend,
            Self::V7_0 => v7::backend(backend),
        }
    }

    /// A label by itself: nothing else is not there when it was never set.
    pub fn label(self, label: Option<&str>) -> Result<Option<&str>, ApiError> {
        match self {
            Self::V7_0 if label.is_none() => Err(ApiError::not_found("There is no label")),
            _ => Ok(label),
        }
    }

    /// What the client means by the Flow that it puts over one that it may have read before.
    pub fn flow_meaning(self) -> Option<FlowMeaning> {
        (self == Self::V7_0).then_some(v7::restore_flow)
    }

    pub fn flow_edit_meaning(self) -> Option<FlowEditMeaning> {
        (self == Self::V7_0).then_some(v7::restore_flow_edit)
    }

    pub fn source_edit_meaning(self) -> Option<SourceEditMeaning> {
        (self == Self::V7_0).then_some(v7::restore_source_edit)
    }
}
