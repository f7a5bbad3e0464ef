//! Columns of `flows`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::technical::{self, json, parsed};
use super::{RowError, tags, times};
use crate::domain::{
    BitRate, CollectionItem, Essence, Flow, FlowId, FlowStatus, ProfileId, Rational, SourceId, Technical, UtcTime,
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
    #[serde(default)]
    profile_id: Option<ProfileId>,
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
        let handy = Handy::of(&flow.technical.essence);
        let technical = technical::Columns::try_from(&flow.technical)?;
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
            format: technical.format,
            label: flow.label.clone(),
            description: flow.description.clone(),
            tags,
            tag_lists,
            generation: flow.generation,
            status: flow.status.as_ref().map(word).transpose()?,
            read_only: flow.read_only,
            max_bit_rate: flow.max_bit_rate,
            avg_bit_rate: technical.avg_bit_rate,
            codec: technical.codec,
            container: technical.container,
            segment_duration: technical.segment_duration,
            container_mapping: technical.container_mapping,
            essence_parameters: technical.essence_parameters,
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
            profile_id: flow.profile_id,
        })
    }
}

impl TryFrom<FlowRow> for StoredFlow {
    type Error = RowError;
    fn try_from(row: FlowRow) -> Result<Self, RowError> {
        let technical = Technical::try_from(technical::Columns {
            format: row.format,
            avg_bit_rate: row.avg_bit_rate,
            codec: row.codec,
            container: row.container,
            segment_duration: row.segment_duration,
            container_mapping: row.container_mapping,
            essence_parameters: row.essence_parameters,
        })?;
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
            technical,
            profile_id: row.profile_id,
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

fn word<T: Serialize>(value: &T) -> Result<String, RowError> {
    json(value).map(|quoted| quoted.trim_matches('"').to_owned())
}
