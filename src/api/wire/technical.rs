//! Schemas of the domain's technical values: essence parameters of the five formats, collections, container mappings.
//! serde reads and writes the domain types themselves; a test holds the schemas here to what serde writes.

use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use poem_openapi::types::Type;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::shape::{Property, inline, object_schema, one_word_of, whole_number};
use crate::domain::essence::{
    AspectRatio, AudioEssence, AudioUncType, AvcParameters, Colorspace, ComponentType, DataEssence, ImageEssence,
    InterlaceMode, MultiEssence, TransferCharacteristic, VideoEssence, VideoUncType,
};
use crate::domain::{CollectionItem, ContainerMapping, Essence, FlowId, Rational};

fn text() -> MetaSchemaRef {
    inline(MetaSchema::new("string"))
}

fn flag() -> MetaSchemaRef {
    inline(MetaSchema::new("boolean"))
}

fn integer() -> MetaSchemaRef {
    inline(MetaSchema::new("integer"))
}

fn list(items: MetaSchemaRef) -> MetaSchemaRef {
    inline(MetaSchema { items: Some(Box::new(items)), ..MetaSchema::new("array") })
}

/// A nested object that has no name of its own in the document.
fn nested<const N: usize>(properties: [(&'static str, MetaSchemaRef, bool); N]) -> MetaSchemaRef {
    let properties =
        properties.map(|(key, schema, required)| Property { key, doc: "", schema, required }).into_iter().collect();
    inline(MetaSchema { description: None, ..object_schema("", properties) })
}

macro_rules! described {
    ($type:ty, $name:literal, $doc:literal, [$(($key:literal, $schema:expr, $required:expr, $about:literal)),* $(,)?]) => {
        api_type!([] $type, $name, MetaSchemaRef::Reference($name.to_owned()), |registry| {
            registry.create_schema::<Self, _>($name.to_owned(), |_| {
                object_schema($doc, vec![$(Property { key: $key, doc: $about, schema: $schema, required: $required }),*])
            });
        });
    };
}

const REQUIRED: bool = true;
const OPTIONAL: bool = false;

fn positive() -> MetaSchemaRef {
    whole_number(1.0)
}

fn init_segments() -> MetaSchemaRef {
    flag()
}

api_type!(
    [] Rational,
    "Ratio",
    nested([("numerator", positive(), REQUIRED), ("denominator", positive(), OPTIONAL)]),
    |_| {}
);

fn aspect() -> MetaSchemaRef {
    nested([("numerator", positive(), REQUIRED), ("denominator", positive(), REQUIRED)])
}
api_type!([] AspectRatio, "AspectRatio", aspect(), |_| {});

fn avc() -> MetaSchemaRef {
    nested([("profile", integer(), REQUIRED), ("level", integer(), REQUIRED), ("flags", integer(), REQUIRED)])
}
api_type!([] AvcParameters, "AvcParameters", avc(), |_| {});

described!(
    VideoEssence,
    "VideoEssence",
    "Video. Give frame_rate, or vfr: true where it varies. No other keys.",
    [
        ("frame_width", positive(), REQUIRED, "Pixels."),
        ("frame_height", positive(), REQUIRED, "Pixels."),
        (
            "frame_rate",
            <Rational as Type>::schema_ref(),
            OPTIONAL,
            "Frames a second; the denominator is 1 where it is not given."
        ),
        ("vfr", flag(), OPTIONAL, "True where the frame rate varies."),
        ("bit_depth", positive(), OPTIONAL, "Bits of a component."),
        ("interlace_mode", one_word_of(InterlaceMode::WORDS), OPTIONAL, ""),
        ("colorspace", one_word_of(Colorspace::WORDS), OPTIONAL, ""),
        ("transfer_characteristic", one_word_of(TransferCharacteristic::WORDS), OPTIONAL, ""),
        ("aspect_ratio", aspect(), OPTIONAL, "Of the picture."),
        ("pixel_aspect_ratio", aspect(), OPTIONAL, "Of a pixel."),
        ("component_type", one_word_of(ComponentType::WORDS), OPTIONAL, ""),
        ("horiz_chroma_subs", positive(), OPTIONAL, "Pixels across to one chroma sample."),
        ("vert_chroma_subs", positive(), OPTIONAL, "Pixels down to one chroma sample."),
        (
            "unc_parameters",
            nested([("unc_type", one_word_of(VideoUncType::WORDS), REQUIRED)]),
            OPTIONAL,
            "Of uncompressed video."
        ),
        ("avc_parameters", avc(), OPTIONAL, "Of H.264."),
        ("init_segments", init_segments(), OPTIONAL, "Whether each media object needs an init object."),
    ]
);

described!(
    AudioEssence,
    "AudioEssence",
    "Audio. No other keys.",
    [
        ("sample_rate", positive(), REQUIRED, "Samples a second and channel."),
        ("channels", positive(), REQUIRED, ""),
        ("bit_depth", positive(), OPTIONAL, "Bits of a sample."),
        (
            "codec_parameters",
            nested([("coded_frame_size", integer(), OPTIONAL), ("mp4_oti", integer(), OPTIONAL)]),
            OPTIONAL,
            ""
        ),
        (
            "unc_parameters",
            nested([("unc_type", one_word_of(AudioUncType::WORDS), REQUIRED)]),
            OPTIONAL,
            "Of uncompressed audio."
        ),
        ("init_segments", init_segments(), OPTIONAL, "Whether each media object needs an init object."),
    ]
);

described!(
    ImageEssence,
    "ImageEssence",
    "Still images. No other keys.",
    [
        ("frame_width", positive(), REQUIRED, "Pixels."),
        ("frame_height", positive(), REQUIRED, "Pixels."),
        ("aspect_ratio", aspect(), OPTIONAL, "Of the picture."),
    ]
);

described!(
    DataEssence,
    "DataEssence",
    "Data such as subtitles. No other keys.",
    [
        ("data_type", text(), OPTIONAL, "A name for what the data is."),
        ("init_segments", init_segments(), OPTIONAL, "Whether each media object needs an init object."),
    ]
);

described!(
    MultiEssence,
    "MultiEssence",
    "Several essences in one. No other keys.",
    [("init_segments", init_segments(), OPTIONAL, "Whether each media object needs an init object."),]
);

described!(
    ContainerMapping,
    "ContainerMapping",
    "Where in the container's bytes an essence sits.",
    [
        ("track_index", whole_number(0.0), OPTIONAL, "Counted from 0 over all tracks."),
        ("format_track_index", whole_number(0.0), OPTIONAL, "Counted from 0 over the tracks of the same format."),
        (
            "audio_track",
            nested([("channel_numbers", list(whole_number(0.0)), OPTIONAL), ("channel_range", text(), OPTIONAL)]),
            OPTIONAL,
            "Channels of an audio track, listed or from first to last like 0_1."
        ),
        ("mp2ts_container", nested([("pid", integer(), OPTIONAL)]), OPTIONAL, ""),
        ("mxf_container", nested([("package_uid", text(), OPTIONAL), ("track_id", integer(), OPTIONAL)]), OPTIONAL, ""),
        ("isobmff_container", nested([("track_id", integer(), OPTIONAL)]), OPTIONAL, ""),
    ]
);

api_type!([] CollectionItem, "CollectionItem", MetaSchemaRef::Reference("CollectionItem".to_owned()), |registry| {
    registry.create_schema::<Self, _>("CollectionItem".to_owned(), |registry| {
        ContainerMapping::register(registry);
        object_schema("A Flow in a collection.", vec![
            Property { key: "id", doc: "The member, which must exist.", schema: FlowId::schema_ref(), required: true },
            Property { key: "role", doc: "What the member is there for.", schema: text(), required: false },
            Property { key: "container_mapping", doc: "", schema: ContainerMapping::schema_ref(), required: false },
        ])
    });
});

fn any_essence() -> MetaSchemaRef {
    inline(MetaSchema {
        any_of: vec![
            VideoEssence::schema_ref(),
            AudioEssence::schema_ref(),
            ImageEssence::schema_ref(),
            DataEssence::schema_ref(),
            MultiEssence::schema_ref(),
        ],
        ..MetaSchema::ANY
    })
}

fn register_essences(registry: &mut poem_openapi::registry::Registry) {
    VideoEssence::register(registry);
    AudioEssence::register(registry);
    ImageEssence::register(registry);
    DataEssence::register(registry);
    MultiEssence::register(registry);
}

api_type!([] Essence, "Essence", any_essence(), register_essences);

/// Essence parameters as they came: which of the five shapes they must have depends on `format`, read beside them.
#[derive(Debug, Deserialize, Serialize)]
#[serde(transparent)]
pub struct RawEssence(pub Box<RawValue>);

api_type!([] RawEssence, "RawEssence", any_essence(), register_essences);

#[cfg(test)]
mod tests {
    use poem_openapi::registry::Registry;
    use serde_json::{Value, json};

    use super::*;

    fn keys_are_documented<T: Type + Serialize + serde::de::DeserializeOwned>(full: Value) {
        let value: T = serde_json::from_value(full.clone()).unwrap();
        assert_eq!(serde_json::to_value(&value).unwrap(), full);
        let mut registry = Registry::new();
        T::register(&mut registry);
        let schema = &registry.schemas[&*T::name()];
        let mut documented: Vec<&str> = schema.properties.iter().map(|(key, _)| *key).collect();
        let mut written: Vec<&str> = full.as_object().unwrap().keys().map(String::as_str).collect();
        documented.sort_unstable();
        written.sort_unstable();
        assert_eq!(documented, written);
    }

    #[test]
    fn every_essence_parameter_is_documented_and_written_as_it_was_read() {
        let ratio = json!({"numerator": 16, "denominator": 9});
        keys_are_documented::<VideoEssence>(json!({
            "frame_width": 1920, "frame_height": 1080, "frame_rate": {"numerator": 25}, "vfr": false, "bit_depth": 8,
            "interlace_mode": "progressive", "colorspace": "BT709", "transfer_characteristic": "SDR",
            "aspect_ratio": ratio, "pixel_aspect_ratio": ratio, "component_type": "YCbCr", "horiz_chroma_subs": 2,
            "vert_chroma_subs": 1, "unc_parameters": {"unc_type": "v210"},
            "avc_parameters": {"profile": 122, "level": 42, "flags": 0}, "init_segments": true,
        }));
        keys_are_documented::<AudioEssence>(json!({
            "sample_rate": 48000, "channels": 2, "bit_depth": 24, "codec_parameters": {"coded_frame_size": 1024, "mp4_oti": 2},
            "unc_parameters": {"unc_type": "interleaved"}, "init_segments": false,
        }));
        keys_are_documented::<ImageEssence>(json!({"frame_width": 1, "frame_height": 1, "aspect_ratio": ratio}));
        keys_are_documented::<DataEssence>(json!({"data_type": "urn:x:subtitles", "init_segments": true}));
        keys_are_documented::<MultiEssence>(json!({"init_segments": true}));
        let mapping = json!({
            "track_index": 0, "format_track_index": 0, "audio_track": {"channel_numbers": [0], "channel_range": "0_1"},
            "mp2ts_container": {"pid": 1}, "mxf_container": {"track_id": 1}, "isobmff_container": {"track_id": 1},
        });
        keys_are_documented::<ContainerMapping>(mapping.clone());
        keys_are_documented::<CollectionItem>(json!({
            "id": "2f8c1c1e-7d6b-4a39-9d0e-0d5a3f0f6b11", "role": "music", "container_mapping": mapping,
        }));
    }
}
