//! Profiles as JSON.

use serde::{Deserialize, Serialize};

use super::flow_put::check_tag_names;
use super::technical::RawEssence;
use super::technical_keys::TechnicalKeys;
use super::text::Time;
use crate::api::dialect::Dialect;
use crate::api::error::{ApiError, Detail, DetailKind, Place};
use crate::domain::{BitRate, ContainerMapping, ContentFormat, Essence, MimeType, Profile, ProfileId, Rational, Tags};
use crate::operations::ProfileRequest;

shape! {
    /// Technical metadata as a client gives it; of one essence.
    #[derive(Deserialize)]
    struct FlowMetadataPost as "FlowMetadataPost" {
        required {}
        optional {
            /// Required; not multi.
            format as "format": ContentFormat,
            /// Required.
            codec as "codec": MimeType,
            /// What segments wrap the essence in.
            container as "container": MimeType,
            /// As the format has it; required.
            essence_parameters as "essence_parameters": RawEssence,
            /// 1,000 bit/s.
            avg_bit_rate as "avg_bit_rate": BitRate,
            /// Nominal duration of a segment in seconds.
            segment_duration as "segment_duration": Rational,
            container_mapping as "container_mapping": ContainerMapping,
        }
    }
}

shape! {
    /// A new profile. It can never be changed.
    #[derive(Deserialize)]
    struct ProfilePost as "ProfilePost" {
        required {
            /// The id in the path.
            id as "id": ProfileId,
            flow_metadata as "flow_metadata": FlowMetadataPost,
        }
        optional {
            /// A short name for people.
            label as "label": String,
            /// A longer text for people.
            description as "description": String,
            /// Of the profile itself; Flows do not get them.
            tags as "tags": Tags,
            created_by as "created_by": String,
        }
    }
}

impl ProfilePost {
    pub fn into_request(self, path_id: ProfileId) -> Result<ProfileRequest, ApiError> {
        if self.id != path_id {
            let place = vec![Place::Name("body".into()), Place::Name("id".into())];
            let text = format!("is not the id in the path, {path_id}");
            return Err(Detail::new(DetailKind::Value, place, text).into());
        }
        let metadata = self.flow_metadata;
        let technical = TechnicalKeys {
            format: metadata.format,
            codec: metadata.codec,
            container: metadata.container,
            avg_bit_rate: metadata.avg_bit_rate,
            segment_duration: metadata.segment_duration,
            container_mapping: metadata.container_mapping,
            essence_parameters: metadata.essence_parameters,
        };
        let technical = technical.into_technical(&["body", "flow_metadata"], Dialect::V8_2)?;
        let tags = self.tags.unwrap_or_default();
        check_tag_names(&tags)?;
        Ok(ProfileRequest {
            id: self.id,
            label: self.label,
            description: self.description,
            tags,
            technical,
            created_by: self.created_by,
        })
    }
}

shape! {
    /// Technical metadata that all Flows of a profile have.
    #[derive(Serialize)]
    struct FlowMetadata<'a> as "FlowMetadata" {
        required {
            format as "format": ContentFormat,
        }
        optional {
            codec as "codec": &'a MimeType,
            /// What segments wrap the essence in.
            container as "container": &'a MimeType,
            /// As the format has it.
            essence_parameters as "essence_parameters": &'a Essence,
            /// 1,000 bit/s.
            avg_bit_rate as "avg_bit_rate": BitRate,
            /// Nominal duration of a segment in seconds.
            segment_duration as "segment_duration": Rational,
            container_mapping as "container_mapping": &'a ContainerMapping,
        }
    }
}

shape! {
    /// A profile: technical metadata that many Flows share.
    #[derive(Serialize)]
    struct ProfileShape<'a> as "Profile" {
        required {
            id as "id": ProfileId,
            flow_metadata as "flow_metadata": FlowMetadata<'a>,
        }
        optional {
            /// A short name for people.
            label as "label": &'a str,
            /// A longer text for people.
            description as "description": &'a str,
            /// Of the profile itself; Flows do not get them.
            tags as "tags": &'a Tags,
            created as "created": Time,
            created_by as "created_by": &'a str,
        }
    }
}

impl<'a> From<&'a Profile> for ProfileShape<'a> {
    fn from(profile: &'a Profile) -> Self {
        let technical = &profile.technical;
        Self {
            id: profile.id,
            flow_metadata: FlowMetadata {
                format: technical.essence.format(),
                codec: technical.codec.as_ref(),
                container: technical.container.as_ref(),
                essence_parameters: Some(&technical.essence),
                avg_bit_rate: technical.avg_bit_rate,
                segment_duration: technical.segment_duration,
                container_mapping: technical.container_mapping.as_ref(),
            },
            label: profile.label.as_deref(),
            description: profile.description.as_deref(),
            tags: Some(&profile.tags).filter(|tags| !tags.is_empty()),
            created: Some(Time(profile.created)),
            created_by: profile.created_by.as_deref(),
        }
    }
}
