//! A Profile: technical metadata that many Flows share, under an id. Never changes.

use super::{ProfileId, Tags, Technical, UtcTime};

#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    pub id: ProfileId,
    pub label: Option<String>,
    pub description: Option<String>,
    pub tags: Tags,
    /// What a Flow of this Profile has; never multi.
    pub technical: Technical,
    pub created: UtcTime,
    pub created_by: Option<String>,
}
