//! Technical metadata as columns, the same for Flows and Profiles.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{RowError, source};
use crate::domain::{BitRate, ContentFormat, Essence, MimeType, Rational, Technical};

pub struct Columns {
    pub format: String,
    pub avg_bit_rate: Option<BitRate>,
    pub codec: Option<String>,
    pub container: Option<String>,
    pub segment_duration: Option<Rational>,
    pub container_mapping: Option<String>,
    pub essence_parameters: Option<String>,
}

impl TryFrom<&Technical> for Columns {
    type Error = RowError;
    fn try_from(technical: &Technical) -> Result<Self, RowError> {
        Ok(Self {
            format: technical.essence.format().urn().to_owned(),
            avg_bit_rate: technical.avg_bit_rate,
            codec: technical.codec.as_ref().map(ToString::to_string),
            container: technical.container.as_ref().map(ToString::to_string),
            segment_duration: technical.segment_duration,
            container_mapping: technical.container_mapping.as_ref().map(json).transpose()?,
            essence_parameters: match &technical.essence {
                Essence::Multi(None) => None,
                essence => Some(json(essence)?),
            },
        })
    }
}

impl TryFrom<Columns> for Technical {
    type Error = RowError;
    fn try_from(columns: Columns) -> Result<Self, RowError> {
        let essence = match (source::format(&columns.format)?, columns.essence_parameters.as_deref()) {
            (ContentFormat::Video, Some(text)) => Essence::Video(parsed(text)?),
            (ContentFormat::Audio, Some(text)) => Essence::Audio(parsed(text)?),
            (ContentFormat::Image, Some(text)) => Essence::Image(parsed(text)?),
            (ContentFormat::Data, Some(text)) => Essence::Data(parsed(text)?),
            (ContentFormat::Multi, text) => Essence::Multi(text.map(parsed).transpose()?),
            (format, None) => return Err(RowError(format!("{} has no essence_parameters", format.urn()))),
        };
        let media_type = |text: Option<String>| text.map(|text| text.parse::<MimeType>().map_err(RowError::new));
        Ok(Self {
            codec: media_type(columns.codec).transpose()?,
            container: media_type(columns.container).transpose()?,
            avg_bit_rate: columns.avg_bit_rate,
            segment_duration: columns.segment_duration,
            container_mapping: columns.container_mapping.as_deref().map(parsed).transpose()?,
            essence,
        })
    }
}

pub fn json<T: Serialize>(value: &T) -> Result<String, RowError> {
    serde_json::to_string(value).map_err(RowError::new)
}

pub fn parsed<T: DeserializeOwned>(text: &str) -> Result<T, RowError> {
    serde_json::from_str(text).map_err(RowError::new)
}
