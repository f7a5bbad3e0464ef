//! A Flow as JSON, on its way in.

use serde::Deserialize;

use super::technical::RawEssence;
use super::technical_keys::TechnicalKeys;
use super::text::TagName;
use crate::api::dialect::Dialect;
use crate::api::error::{ApiError, Detail, DetailKind, Place};
use crate::domain::ids::InvalidUuid;
use crate::domain::{
    BitRate, CollectionItem, ContainerMapping, ContentFormat, FlowId, FlowStatus, MimeType, ProfileId, Rational,
    SourceId, Tags,
};
use crate::operations::{FlowRequest, TechnicalFrom};

shape! {
    /// A Flow's metadata, whole: what is left out is removed. Keys that the server manages may be sent; they are ignored.
    #[derive(Deserialize)]
    struct FlowPut as "FlowPut" {
        required {
            /// The id in the path.
            id as "id": FlowId,
            /// The Source; it is made if the Flow is its first.
            source_id as "source_id": SourceId,
        }
        optional {
            /// Required; fixed once the Flow exists.
            format as "format": ContentFormat,
            /// A short name for people.
            label as "label": String,
            /// A longer text for people.
            description as "description": String,
            /// Required except for multi.
            codec as "codec": MimeType,
            /// What segments wrap the essence in; needed before the Flow can have segments.
            container as "container": MimeType,
            /// As the format has it; required except for multi.
            essence_parameters as "essence_parameters": RawEssence,
            /// 1,000 bit/s.
            avg_bit_rate as "avg_bit_rate": BitRate,
            /// 1,000 bit/s.
            max_bit_rate as "max_bit_rate": BitRate,
            /// Nominal duration of a segment in seconds.
            segment_duration as "segment_duration": Rational,
            container_mapping as "container_mapping": ContainerMapping,
            /// A profile that holds the technical keys instead. An empty text is no profile.
            profile_id as "profile_id": String,
            tags as "tags": Tags,
            /// Copies away from the original.
            generation as "generation": u32,
            status as "status": FlowStatus,
            /// Whether the Flow refuses changes from now on.
            read_only as "read_only": bool,
            /// Flows that this one collects, in order.
            flow_collection as "flow_collection": Vec<CollectionItem>,
            metadata_version as "metadata_version": String,
            created_by as "created_by": String,
            updated_by as "updated_by": String,
        }
    }
}

fn at(key: &'static str, kind: DetailKind, text: impl Into<String>) -> ApiError {
    Detail::new(kind, vec![Place::Name("body".into()), Place::Name(key.into())], text).into()
}

impl FlowPut {
    pub fn into_request(self, path_id: FlowId, dialect: Dialect) -> Result<FlowRequest, ApiError> {
        if self.id != path_id {
            return Err(at("id", DetailKind::Value, format!("is not the id in the path, {path_id}")));
        }
        let tags = self.tags.unwrap_or_default();
        check_tag_names(&tags)?;
        let keys = TechnicalKeys {
            format: self.format,
            codec: self.codec,
            container: self.container,
            avg_bit_rate: self.avg_bit_rate,
            segment_duration: self.segment_duration,
            container_mapping: self.container_mapping,
            essence_parameters: self.essence_parameters,
        };
        let technical = match self.profile_id.as_deref() {
            None | Some("") => TechnicalFrom::Client(Box::new(keys.into_technical(&["body"], dialect)?)),
            Some(id) => TechnicalFrom::Profile(profile(id, &keys)?),
        };
        let flow_collection = self.flow_collection.unwrap_or_default();
        check_collection(&["flow_collection"], &flow_collection)?;
        Ok(FlowRequest {
            id: self.id,
            source_id: self.source_id,
            label: self.label,
            description: self.description,
            tags,
            generation: self.generation,
            status: self.status,
            read_only: self.read_only.unwrap_or(false),
            max_bit_rate: self.max_bit_rate,
            technical,
            flow_collection,
            metadata_version: self.metadata_version,
            created_by: self.created_by,
            updated_by: self.updated_by,
        })
    }
}

/// A profile says everything technical; a Flow that has one says nothing of it, not even the same.
fn profile(id: &str, keys: &TechnicalKeys) -> Result<ProfileId, ApiError> {
    let id = id.parse().map_err(|error: InvalidUuid| at("profile_id", DetailKind::Pattern, error.to_string()))?;
    match keys.any() {
        None => Ok(id),
        Some(key) => Err(at(
            key,
            DetailKind::Value,
            "comes from the profile: leave it out, as all technical keys, or leave out profile_id to unlink the Flow",
        )),
    }
}

/// A tag whose name no path can carry could never be read or removed alone.
pub fn check_tag_names(tags: &Tags) -> Result<(), ApiError> {
    let wrong = tags.keys().find_map(|name| name.parse::<TagName>().err());
    wrong.map_or(Ok(()), |error| Err(at("tags", DetailKind::Value, error.to_string())))
}

/// `place` is where the collection stands in the body: nowhere in particular if it is the body.
pub fn check_collection(place: &[&'static str], items: &[CollectionItem]) -> Result<(), ApiError> {
    for (index, item) in items.iter().enumerate() {
        if let Some(mapping) = &item.container_mapping {
            mapping.check().map_err(|error| {
                let loc = std::iter::once("body").chain(place.iter().copied()).map(|name| Place::Name(name.into()));
                let loc = loc.chain([Place::Index(index), Place::Name("container_mapping".into())]).collect();
                ApiError::from(Detail::new(DetailKind::Pattern, loc, error.to_string()))
            })?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::json::parse_at;
    use crate::domain::{Essence, Technical};

    const ID: &str = "2f8c1c1e-7d6b-4a39-9d0e-0d5a3f0f6b11";

    fn put(change: impl FnOnce(&mut Value)) -> Result<FlowRequest, ApiError> {
        let mut flow = json!({
            "id": ID, "source_id": ID, "format": "urn:x-nmos:format:video", "codec": "video/h264",
            "essence_parameters": {"frame_width": 1920, "frame_height": 1080, "frame_rate": {"numerator": 25}},
        });
        change(&mut flow);
        let put: FlowPut = parse_at(&serde_json::to_vec(&flow).unwrap(), &["body"])?;
        put.into_request(ID.parse().unwrap(), Dialect::V8_2)
    }

    fn technical(request: FlowRequest) -> Technical {
        match request.technical {
            TechnicalFrom::Client(technical) => *technical,
            TechnicalFrom::Profile(id) => panic!("of profile {id}"),
        }
    }

    fn refusal(change: impl FnOnce(&mut Value)) -> (String, &'static str) {
        let error = put(change).unwrap_err();
        let detail = &error.details()[0];
        (detail.path(), detail.kind.word())
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        assert_eq!(
            refusal(|f| f["essence_parameters"]["frame_width"] = json!("x")),
            ("body.essence_parameters.frame_width".into(), "int_parsing")
        );
        assert_eq!(
            refusal(|f| f["essence_parameters"]["speed"] = json!(1)),
            ("body.essence_parameters.speed".into(), "extra_forbidden")
        );
        assert_eq!(
            refusal(|f| f["essence_parameters"]["frame_rate"]["numerator"] = json!(0)),
            ("body.essence_parameters.frame_rate.numerator".into(), "int_parsing")
        );
        assert_eq!(
            refusal(|f| f["essence_parameters"]["vfr"] = json!(true)),
            ("body.essence_parameters".into(), "value_error")
        );
        assert_eq!(
            refusal(|f| f["essence_parameters"] = json!({"frame_width": 1, "frame_height": 1})),
            ("body.essence_parameters".into(), "value_error")
        );
        assert_eq!(refusal(|f| f["format"] = json!("video")), ("body.format".into(), "enum"));
        assert_eq!(
            refusal(|f| drop(f.as_object_mut().unwrap().remove("source_id"))),
            ("body.source_id".into(), "missing")
        );
        assert_eq!(refusal(|f| drop(f.as_object_mut().unwrap().remove("format"))), ("body.format".into(), "missing"));
        assert_eq!(refusal(|f| drop(f.as_object_mut().unwrap().remove("codec"))), ("body.codec".into(), "missing"));
        assert_eq!(refusal(|f| f["label"] = json!(null)), ("body.label".into(), "string_type"));
        assert_eq!(refusal(|f| f["read_only"] = json!(null)), ("body.read_only".into(), "bool_parsing"));
        assert_eq!(refusal(|f| f["read_only"] = json!("false")), ("body.read_only".into(), "bool_parsing"));
        assert_eq!(refusal(|f| f["generation"] = json!(-1)), ("body.generation".into(), "int_parsing"));
        assert_eq!(refusal(|f| f["codec"] = json!("h264")), ("body.codec".into(), "string_pattern_mismatch"));
        assert_eq!(refusal(|f| f["tags"] = json!({"a": [1]})), ("body.tags.a".into(), "string_type"));
        assert_eq!(
            refusal(|f| f["id"] = json!("2f8c1c1e-7d6b-4a39-9d0e-0d5a3f0f6b12")),
            ("body.id".into(), "value_error")
        );
        assert_eq!(refusal(|f| f["profile_id"] = json!(ID)), ("body.format".into(), "value_error"));
        assert_eq!(refusal(|f| f["profile_id"] = json!("x")), ("body.profile_id".into(), "string_pattern_mismatch"));
        for key in ["codec", "container", "avg_bit_rate", "segment_duration", "container_mapping", "essence_parameters"]
        {
            let value = match key {
                "avg_bit_rate" => json!(1),
                "segment_duration" => json!({"numerator": 1}),
                "codec" | "container" => json!("video/x"),
                _ => json!({}),
            };
            let linked = json!({"id": ID, "source_id": ID, "profile_id": ID, key: value});
            assert_eq!(refusal(|f| *f = linked), (format!("body.{key}"), "value_error"));
        }
        assert_eq!(
            refusal(|f| f["flow_collection"] =
                json!([{"id": ID}, {"id": ID, "container_mapping": {"audio_track": {"channel_range": "x"}}}])),
            ("body.flow_collection[1].container_mapping".into(), "string_pattern_mismatch")
        );
    }

    #[test]
    fn keys_of_the_server_and_unknown_keys_are_ignored_even_if_malformed() {
        let request = put(|f| {
            for key in ["created", "metadata_updated", "segments_updated", "timerange", "collected_by", "unheard_of"] {
                f[key] = json!({"not": ["valid"]});
            }
            f["profile_id"] = json!("");
        });
        assert_eq!(technical(request.unwrap()).codec.unwrap().as_str(), "video/h264");
    }

    #[test]
    fn a_multi_flow_needs_neither_codec_nor_parameters_and_data_needs_both() {
        let multi = put(|f| *f = json!({"id": ID, "source_id": ID, "format": "urn:x-nmos:format:multi"})).unwrap();
        assert_eq!(technical(multi).essence, Essence::Multi(None));
        let data = json!({"id": ID, "source_id": ID, "format": "urn:x-nmos:format:data", "codec": "application/json"});
        assert_eq!(refusal(|f| *f = data.clone()), ("body.essence_parameters".into(), "missing"));
        assert!(
            put(|f| {
                *f = data;
                f["essence_parameters"] = json!({});
            })
            .is_ok()
        );
    }
}
