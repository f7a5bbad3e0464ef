//! Columns of `profiles`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{RowError, tags, technical, times};
use crate::domain::{BitRate, Profile, ProfileId, Rational, Technical};

#[derive(Debug, Serialize, Deserialize)]
pub struct ProfileRow {
    id: ProfileId,
    label: Option<String>,
    description: Option<String>,
    tags: BTreeMap<String, Vec<String>>,
    tag_lists: Vec<String>,
    format: String,
    avg_bit_rate: Option<BitRate>,
    codec: Option<String>,
    container: Option<String>,
    segment_duration: Option<Rational>,
    container_mapping: Option<String>,
    essence_parameters: Option<String>,
    created: i64,
    created_by: Option<String>,
}

impl TryFrom<&Profile> for ProfileRow {
    type Error = RowError;
    fn try_from(profile: &Profile) -> Result<Self, RowError> {
        let (tags, tag_lists) = tags::columns(&profile.tags);
        let technical = technical::Columns::try_from(&profile.technical)?;
        Ok(Self {
            id: profile.id,
            label: profile.label.clone(),
            description: profile.description.clone(),
            tags,
            tag_lists,
            format: technical.format,
            avg_bit_rate: technical.avg_bit_rate,
            codec: technical.codec,
            container: technical.container,
            segment_duration: technical.segment_duration,
            container_mapping: technical.container_mapping,
            essence_parameters: technical.essence_parameters,
            created: times::micros(profile.created),
            created_by: profile.created_by.clone(),
        })
    }
}

impl TryFrom<ProfileRow> for Profile {
    type Error = RowError;
    fn try_from(row: ProfileRow) -> Result<Self, RowError> {
        Ok(Self {
            id: row.id,
            label: row.label,
            description: row.description,
            tags: tags::from_columns(row.tags, row.tag_lists),
            technical: Technical::try_from(technical::Columns {
                format: row.format,
                avg_bit_rate: row.avg_bit_rate,
                codec: row.codec,
                container: row.container,
                segment_duration: row.segment_duration,
                container_mapping: row.container_mapping,
                essence_parameters: row.essence_parameters,
            })?,
            created: times::utc(row.created)?,
            created_by: row.created_by,
        })
    }
}
