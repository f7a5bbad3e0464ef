//! The technical keys of a Flow, which stand in the Flow itself or in a profile.

use serde::de::DeserializeOwned;

use super::technical::RawEssence;
use crate::api::dialect::Dialect;
use crate::api::error::{ApiError, Detail, DetailKind, Place};
use crate::api::json::parse_at;
use crate::domain::essence::{FrameRateRule, MultiEssence, VideoEssence};
use crate::domain::{BitRate, ContainerMapping, ContentFormat, Essence, MimeType, Rational, Technical};

pub struct TechnicalKeys {
    pub format: Option<ContentFormat>,
    pub codec: Option<MimeType>,
    pub container: Option<MimeType>,
    pub avg_bit_rate: Option<BitRate>,
    pub segment_duration: Option<Rational>,
    pub container_mapping: Option<ContainerMapping>,
    pub essence_parameters: Option<RawEssence>,
}

impl TechnicalKeys {
    /// The first that is there.
    pub fn any(&self) -> Option<&'static str> {
        let keys = [
            ("format", self.format.is_some()),
            ("codec", self.codec.is_some()),
            ("container", self.container.is_some()),
            ("avg_bit_rate", self.avg_bit_rate.is_some()),
            ("segment_duration", self.segment_duration.is_some()),
            ("container_mapping", self.container_mapping.is_some()),
            ("essence_parameters", self.essence_parameters.is_some()),
        ];
        keys.into_iter().find(|(_, is_there)| *is_there).map(|(key, _)| key)
    }

    /// `place` is where the keys stand in the request.
    pub fn into_technical(self, place: &[&'static str], dialect: Dialect) -> Result<Technical, ApiError> {
        let missing = |key| at(place, key, DetailKind::Missing, "required");
        let format = self.format.ok_or_else(|| missing("format"))?;
        let essence = essence(format, self.essence_parameters, place, dialect)?;
        if self.codec.is_none() && format != ContentFormat::Multi {
            return Err(missing("codec"));
        }
        if let Some(mapping) = &self.container_mapping {
            mapping.check().map_err(|error| at(place, "container_mapping", DetailKind::Pattern, error.to_string()))?;
        }
        Ok(Technical {
            codec: self.codec,
            container: self.container,
            avg_bit_rate: self.avg_bit_rate,
            segment_duration: self.segment_duration,
            container_mapping: self.container_mapping,
            essence,
        })
    }
}

fn at(place: &[&'static str], key: &'static str, kind: DetailKind, text: impl Into<String>) -> ApiError {
    let loc = place.iter().copied().chain([key]).map(|name| Place::Name(name.into())).collect();
    Detail::new(kind, loc, text).into()
}

fn essence(
    format: ContentFormat,
    raw: Option<RawEssence>,
    place: &[&'static str],
    dialect: Dialect,
) -> Result<Essence, ApiError> {
    const KEY: &str = "essence_parameters";
    fn parse<T: DeserializeOwned>(raw: Option<RawEssence>, place: &[&'static str]) -> Result<T, ApiError> {
        let raw = raw.ok_or_else(|| at(place, KEY, DetailKind::Missing, "required"))?;
        parse_at(raw.0.get().as_bytes(), &[place, &[KEY]].concat())
    }
    Ok(match format {
        ContentFormat::Video => {
            let video: VideoEssence = parse(raw, place)?;
            match video.check_frame_rate() {
                Err(FrameRateRule::Missing) if !dialect.requires_frame_rate() => {}
                Err(rule) => return Err(at(place, KEY, DetailKind::Value, rule.to_string())),
                Ok(()) => {}
            }
            Essence::Video(video)
        }
        ContentFormat::Audio => Essence::Audio(parse(raw, place)?),
        ContentFormat::Image => Essence::Image(parse(raw, place)?),
        ContentFormat::Data => Essence::Data(parse(raw, place)?),
        ContentFormat::Multi => Essence::Multi(raw.map(|raw| parse::<MultiEssence>(Some(raw), place)).transpose()?),
    })
}
