//! Columns of `sources`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{RowError, tags, times};
use crate::domain::{ContentFormat, Source, SourceId};

#[derive(Debug, Serialize, Deserialize)]
pub struct SourceRow {
    id: SourceId,
    format: String,
    label: Option<String>,
    description: Option<String>,
    tags: BTreeMap<String, Vec<String>>,
    tag_lists: Vec<String>,
    created: i64,
    created_by: Option<String>,
    updated: i64,
    updated_by: Option<String>,
}

impl From<&Source> for SourceRow {
    fn from(source: &Source) -> Self {
        let (tags, tag_lists) = tags::columns(&source.tags);
        Self {
            id: source.id,
            format: source.format.urn().to_owned(),
            label: source.label.clone(),
            description: source.description.clone(),
            tags,
            tag_lists,
            created: times::micros(source.created),
            created_by: source.created_by.clone(),
            updated: times::micros(source.updated),
            updated_by: source.updated_by.clone(),
        }
    }
}

impl TryFrom<SourceRow> for Source {
    type Error = RowError;
    fn try_from(row: SourceRow) -> Result<Self, RowError> {
        Ok(Self {
            id: row.id,
            format: format(&row.format)?,
            label: row.label,
            description: row.description,
            tags: tags::from_columns(row.tags, row.tag_lists),
            created: times::utc(row.created)?,
            created_by: row.created_by,
            updated: times::utc(row.updated)?,
            updated_by: row.updated_by,
        })
    }
}

pub fn format(urn: &str) -> Result<ContentFormat, RowError> {
    ContentFormat::from_urn(urn).ok_or_else(|| RowError(format!("{urn:?} is no content format")))
}
