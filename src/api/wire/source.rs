//! A Source as JSON.

use serde::Serialize;

use super::Time;
use crate::domain::{ContentFormat, SourceId, Tags};
use crate::operations::SourceView;

shape! {
    /// A Source in the collection of another one.
    #[derive(Serialize)]
    struct SourceMember<'a> as "SourceCollectionItem" {
        required {
            id as "id": SourceId,
        }
        optional {
            /// What the member is there for, from the Flow collection that it follows from.
            role as "role": &'a str,
        }
    }
}

shape! {
    /// A Source: content as such, of which Flows are encodings.
    #[derive(Serialize)]
    struct SourceShape<'a> as "Source" {
        required {
            id as "id": SourceId,
            format as "format": ContentFormat,
        }
        optional {
            /// A short name for people.
            label as "label": &'a str,
            /// A longer text for people.
            description as "description": &'a str,
            created_by as "created_by": &'a str,
            updated_by as "updated_by": &'a str,
            created as "created": Time,
            updated as "updated": Time,
            tags as "tags": &'a Tags,
            /// Sources whose Flows are collected by Flows of this one.
            source_collection as "source_collection": Vec<SourceMember<'a>>,
            /// Sources whose Flows collect Flows of this one.
            collected_by as "collected_by": &'a [SourceId],
        }
    }
}

impl<'a> From<&'a SourceView> for SourceShape<'a> {
    fn from(view: &'a SourceView) -> Self {
        let source = &*view.source;
        let members: Vec<SourceMember<'a>> =
            view.source_collection.iter().map(|(id, role)| SourceMember { id: *id, role: role.as_deref() }).collect();
        Self {
            id: source.id,
            format: source.format,
            label: source.label.as_deref(),
            description: source.description.as_deref(),
            created_by: source.created_by.as_deref(),
            updated_by: source.updated_by.as_deref(),
            created: Some(Time(source.created)),
            updated: Some(Time(source.updated)),
            tags: Some(&source.tags).filter(|tags| !tags.is_empty()),
            source_collection: Some(members).filter(|members| !members.is_empty()),
            collected_by: Some(&*view.collected_by).filter(|ids| !ids.is_empty()),
        }
    }
}
