//! Columns of `flows`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{RowError, source, tags, times};
use crate::domain::{
    BitRate, CollectionItem, ContentFormat, Essence, Flow, FlowId, FlowStatus, MimeType, Rational, SourceId, Technical,
    UtcTime,
};

/// A Flow's row: the Flow, and what the log says of its segments.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredFlow {
    pub flow: Arc<Flow>,
    pub segments_updated: Option<UtcTime>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct FlowRow {
    id: FlowId,
    source_id: SourceId,
    format: String,
    label: Option<String>,
    description: Option<String>,
    tags: BTreeMap<String, Vec<String>>,
    tag_lists: Vec<String>,
    generation: Option<u32>,
    status: Option<String>,
    read_only: bool,
    max_bit_rate: Option<BitRate>,
    avg_bit_rate: Option<BitRate>,
    codec: Option<String>,
    container: Option<String>,
    segment_duration: Option<Rational>,
    container_mapping: Option<String>,
    essence_parameters: Option<String>,
    frame_width: Option<i64>,
    frame_height: Option<i64>,
    frame_rate: Option<f64>,
    sample_rate: Option<i64>,
    channels: Option<i64>,
    flow_collection: Vec<CollectionRow>,
    metadata_version: String,
    created: i64,
    created_by: Option<String>,
    metadata_updated: i64,
    updated_by: Option<String>,
    segments_updated: Option<i64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct CollectionRow {
    id: FlowId,
    role: Option<String>,
    container_mapping: Option<String>,
}

/// Columns copied out of the essence parameters, for queries only.
#[derive(Default)]
struct Handy {
    frame_width: Option<i64>,
    frame_height: Option<i64>,
    frame_rate: Option<f64>,
    sample_rate: Option<i64>,
    channels: Option<i64>,
}

impl Handy {
    fn of(essence: &Essence) -> Self {
        match essence {
            Essence::Video(video) => Self {
                frame_width: Some(video.frame_width.get().into()),
                frame_height: Some(video.frame_height.get().into()),
                frame_rate: video.frame_rate.map(Rational::as_f64),
                ..Self::default()
            },
            Essence::Image(image) => Self {
                frame_width: Some(image.frame_width.get().into()),
                frame_height: Some(image.frame_height.get().into()),
                ..Self::default()
            },
            Essence::Audio(audio) => Self {
                sample_rate: Some(audio.sample_rate.get().into()),
                channels: Some(audio.channels.get().into()),
                ..Self::default()
            },
            Essence::Data(_) | Essence::Multi(_) => Self::default(),
        }
    }
}

impl TryFrom<&StoredFlow> for FlowRow {
    type Error = RowError;
    fn try_from(StoredFlow { flow, segments_updated }: &StoredFlow) -> Result<Self, RowError> {
        let (tags, tag_lists) = tags::columns(&flow.tags);
        let technical = &flow.technical;
        let handy = Handy::of(&technical.essence);
        let essence_parameters = match &technical.essence {
            Essence::Multi(None) => None,
            essence => Some(json(essence)?),
        };
        let flow_collection = flow.flow_collection.iter().map(|item| {
            Ok(CollectionRow {
                id: item.id,
                role: item.role.clone(),
                container_mapping: item.container_mapping.as_ref().map(json).transpose()?,
            })
        });
        Ok(Self {
            id: flow.id,
            source_id: flow.source_id,
            format: flow.format().urn().to_owned(),
            label: flow.label.clone(),
            description: flow.description.clone(),
            tags,
            tag_lists,
            generation: flow.generation,
            status: flow.status.as_ref().map(word).transpose()?,
            read_only: flow.read_only,
            max_bit_rate: flow.max_bit_rate,
            avg_bit_rate: technical.avg_bit_rate,
            codec: technical.codec.as_ref().map(ToString::to_string),
            container: technical.container.as_ref().map(ToString::to_string),
            segment_duration: technical.segment_duration,
            container_mapping: technical.container_mapping.as_ref().map(json).transpose()?,
            essence_parameters,
            frame_width: handy.frame_width,
            frame_height: handy.frame_height,
            frame_rate: handy.frame_rate,
            sample_rate: handy.sample_rate,
            channels: handy.channels,
            flow_collection: flow_collection.collect::<Result<_, RowError>>()?,
            metadata_version: flow.metadata_version.clone(),
            created: times::micros(flow.created),
            created_by: flow.created_by.clone(),
            metadata_updated: times::micros(flow.metadata_updated),
            updated_by: flow.updated_by.clone(),
            segments_updated: segments_updated.map(times::micros),
        })
    }
}

impl TryFrom<FlowRow> for StoredFlow {
    type Error = RowError;
    fn try_from(row: FlowRow) -> Result<Self, RowError> {
        let essence = match (source::format(&row.format)?, row.essence_parameters.as_deref()) {
            (ContentFormat::Video, Some(text)) => Essence::Video(parsed(text)?),
            (ContentFormat::Audio, Some(text)) => Essence::Audio(parsed(text)?),
            (ContentFormat::Image, Some(text)) => Essence::Image(parsed(text)?),
            (ContentFormat::Data, Some(text)) => Essence::Data(parsed(text)?),
            (ContentFormat::Multi, text) => Essence::Multi(text.map(parsed).transpose()?),
            (format, None) => return Err(RowError(format!("a {} Flow has no essence_parameters", format.urn()))),
        };
        let media_type = |text: Option<String>| text.map(|text| text.parse::<MimeType>().map_err(RowError::new));
        let flow_collection = row.flow_collection.into_iter().map(|item| {
            Ok(CollectionItem {
                id: item.id,
                role: item.role,
                container_mapping: item.container_mapping.as_deref().map(parsed).transpose()?,
            })
        });
        let flow = Flow {
            id: row.id,
            source_id: row.source_id,
            label: row.label,
            description: row.description,
            tags: tags::from_columns(row.tags, row.tag_lists),
            generation: row.generation,
            status: row.status.map(|word| parsed::<FlowStatus>(&format!("\"{word}\""))).transpose()?,
            read_only: row.read_only,
            max_bit_rate: row.max_bit_rate,
            technical: Technical {
                codec: media_type(row.codec).transpose()?,
                container: media_type(row.container).transpose()?,
                avg_bit_rate: row.avg_bit_rate,
                segment_duration: row.segment_duration,
                container_mapping: row.container_mapping.as_deref().map(parsed).transpose()?,
                essence,
            },
            flow_collection: flow_collection.collect::<Result<_, RowError>>()?,
            metadata_version: row.metadata_version,
            created: times::utc(row.created)?,
            created_by: row.created_by,
            metadata_updated: times::utc(row.metadata_updated)?,
            updated_by: row.updated_by,
        };
        Ok(Self { flow: Arc::new(flow), segments_updated: row.segments_updated.map(times::utc).transpose()? })
    }
}

fn json<T: Serialize>(value: &T) -> Result<String, RowError> {
    serde_json::to_string(value).map_err(RowError::new)
}

fn word<T: Serialize>(value: &T) -> Result<String, RowError> {
    json(value).map(|quoted| quoted.trim_matches('"').to_owned())
}

fn parsed<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, RowError> {
    serde_json::from_str(text).map_err(RowError::new)
}
