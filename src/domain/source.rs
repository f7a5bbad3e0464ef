//! A Source: content as such. It comes with its first Flow and goes with its last.

use super::{ContentFormat, SourceId, Tags, UtcTime};

#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    pub id: SourceId,
    pub format: ContentFormat,
    pub label: Option<String>,
    pub description: Option<String>,
    pub tags: Tags,
    pub created: UtcTime,
    pub created_by: Option<String>,
    pub updated: UtcTime,
    pub updated_by: Option<String>,
}
