//! A Flow: one encoding of a Source on its own timeline, and the collections that Flows form.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

use super::{ContentFormat, Essence, FlowId, ProfileId, SourceId, Tags, UtcTime};

#[derive(Debug, Clone, PartialEq)]
pub struct Flow {
    pub id: FlowId,
    pub source_id: SourceId,
    pub label: Option<String>,
    pub description: Option<String>,
    pub tags: Tags,
    /// Copies away from the original: 0 is the first encoding.
    pub generation: Option<u32>,
    pub status: Option<FlowStatus>,
    pub read_only: bool,
    pub max_bit_rate: Option<BitRate>,
    pub technical: Technical,
    /// The Profile that the technical metadata comes from.
    pub profile_id: Option<ProfileId>,
    /// Flows that this one collects, in the order given.
    pub flow_collection: Vec<CollectionItem>,
    pub metadata_version: String,
    pub created: UtcTime,
    pub created_by: Option<String>,
    pub metadata_updated: UtcTime,
    pub updated_by: Option<String>,
}

impl Flow {
    pub fn format(&self) -> ContentFormat {
        self.technical.essence.format()
    }
}

/// How the content is encoded and wrapped.
#[derive(Debug, Clone, PartialEq)]
pub struct Technical {
    /// Required except for multi.
    pub codec: Option<MimeType>,
    /// Needed before the Flow can have storage or segments of its own.
    pub container: Option<MimeType>,
    pub avg_bit_rate: Option<BitRate>,
    /// Nominal, in seconds.
    pub segment_duration: Option<Rational>,
    pub container_mapping: Option<ContainerMapping>,
    pub essence: Essence,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowStatus {
    AwaitingContent,
    Ingesting,
    ReplicationInProgress,
    ClosedComplete,
}

impl FlowStatus {
    pub const WORDS: &'static [&'static str] =
        &["awaiting_content", "ingesting", "replication_in_progress", "closed_complete"];
}

/// In units of 1,000 bit/s; at most what a signed 64-bit column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct BitRate(u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a bit rate is at most {}", i64::MAX)]
pub struct BitRateTooHigh;

impl TryFrom<u64> for BitRate {
    type Error = BitRateTooHigh;
    fn try_from(rate: u64) -> Result<Self, BitRateTooHigh> {
        if i64::try_from(rate).is_ok() { Ok(Self(rate)) } else { Err(BitRateTooHigh) }
    }
}

#[cfg(test)]
impl BitRate {
    /// What no client can make: to see what becomes of a row that its column cannot hold.
    pub fn unchecked(rate: u64) -> Self {
        Self(rate)
    }
}

impl From<BitRate> for u64 {
    fn from(rate: BitRate) -> Self {
        rate.0
    }
}

/// A member of a collection. `role` says what it is there for; `container_mapping` where it sits in the collector's bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CollectionItem {
    pub id: FlowId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_mapping: Option<ContainerMapping>,
}

/// A ratio whose denominator is 1 where it is not given; what was given is what is shown again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rational {
    pub numerator: NonZeroU32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denominator: Option<NonZeroU32>,
}

impl Rational {
    pub fn as_f64(self) -> f64 {
        f64::from(self.numerator.get()) / f64::from(self.denominator.map_or(1, NonZeroU32::get))
    }
}

/// A `type/subtype`, parameters allowed, blanks and a second slash not.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct MimeType(String);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a media type such as video/h264: type, slash, subtype, without blanks")]
pub struct InvalidMimeType(String);

impl MimeType {
    pub const PATTERN: &'static str = r"^[^\s/]+/[^\s/]+$";

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MimeType {
    type Err = InvalidMimeType;
    fn from_str(text: &str) -> Result<Self, InvalidMimeType> {
        // Control characters would break the Content-Type header that some of these become.
        let part_holds = |part: &str| !part.is_empty() && !part.chars().any(|c| c.is_whitespace() || c.is_control());
        match text.split_once('/') {
            Some((kind, subtype)) if part_holds(kind) && part_holds(subtype) && !subtype.contains('/') => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(InvalidMimeType(text.chars().take(64).collect())),
        }
    }
}

impl fmt::Debug for MimeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for MimeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for MimeType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Where in a container's bytes an essence sits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerMapping {
    /// Counted from 0 over all tracks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track_index: Option<u32>,
    /// Counted from 0 over the tracks of the Flow's own format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format_track_index: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_track: Option<AudioTrack>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mp2ts_container: Option<Mp2tsContainer>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mxf_container: Option<MxfContainer>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isobmff_container: Option<IsobmffContainer>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AudioTrack {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel_numbers: Option<Vec<u32>>,
    /// First and last channel, like `0_1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel_range: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mp2tsContainer {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MxfContainer {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package_uid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track_id: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IsobmffContainer {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track_id: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidContainerMapping {
    #[error("audio_track.channel_numbers needs at least one channel")]
    NoChannels,
    #[error("audio_track.channel_range is first and last channel, like 0_1, not {0:?}")]
    ChannelRange(String),
    #[error(
        "mxf_container.package_uid is urn:smpte:umid: with eight groups of eight hex digits, or a urn:uuid:, not {0:?}"
    )]
    PackageUid(String),
}

impl ContainerMapping {
    pub fn check(&self) -> Result<(), InvalidContainerMapping> {
        if let Some(track) = &self.audio_track {
            if track.channel_numbers.as_ref().is_some_and(Vec::is_empty) {
                return Err(InvalidContainerMapping::NoChannels);
            }
            let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            if let Some(range) = &track.channel_range
                && !range.split_once('_').is_some_and(|(first, last)| digits(first) && digits(last))
            {
                return Err(InvalidContainerMapping::ChannelRange(range.clone()));
            }
        }
        if let Some(uid) = self.mxf_container.as_ref().and_then(|mxf| mxf.package_uid.as_ref())
            && !is_package_uid(uid)
        {
            return Err(InvalidContainerMapping::PackageUid(uid.clone()));
        }
        Ok(())
    }
}

fn is_package_uid(uid: &str) -> bool {
    let hex = |text: &str, length: usize| text.len() == length && text.bytes().all(|b| b.is_ascii_hexdigit());
    if let Some(umid) = uid.strip_prefix("urn:smpte:umid:") {
        // Any one character may stand between the groups: that is what the schema says.
        let characters: Vec<char> = umid.chars().collect();
        return characters.len() == 71
            && characters.chunks(9).all(|group| group.iter().take(8).all(char::is_ascii_hexdigit));
    }
    uid.strip_prefix("urn:uuid:").is_some_and(|uuid| {
        let groups: Vec<&str> = uuid.split('-').collect();
        groups.len() == 5 && groups.iter().zip([8, 4, 4, 4, 12]).all(|(group, length)| hex(group, length))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bit_rate_is_as_large_as_its_column_and_no_larger() {
        assert!(BitRate::try_from(i64::MAX.unsigned_abs()).is_ok());
        let error = serde_json::from_str::<BitRate>("9223372036854775808").unwrap_err();
        assert!(error.to_string().contains("at most 9223372036854775807"), "{error}");
    }

    #[test]
    fn a_media_type_has_one_slash_and_no_blanks() {
        for good in ["video/h264", "text/plain;charset=utf-8", "application/vnd.apple.mpegurl"] {
            assert!(good.parse::<MimeType>().is_ok(), "{good}");
        }
        for bad in ["", "video", "/", "video/", "/h264", "a/b/c", "video/h 264", "video/h264\r\nX: y", "a/b\0"] {
            assert!(bad.parse::<MimeType>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_package_uid_is_an_umid_or_a_uuid() {
        let group = "060a2b34";
        let umid = format!("urn:smpte:umid:{}", [group; 8].join("."));
        assert!(is_package_uid(&umid));
        assert!(is_package_uid("urn:uuid:2f8c1c1e-7d6b-4a39-9d0e-0d5a3f0f6b11"));
        assert!(!is_package_uid(&umid[..umid.len() - 1]));
        assert!(!is_package_uid("urn:uuid:2f8c1c1e"));
        assert!(!is_package_uid("060a2b34"));
    }
}
