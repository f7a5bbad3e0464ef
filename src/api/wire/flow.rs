//! A Flow as JSON, on its way out.

use serde::Serialize;

use super::Time;
use crate::domain::{
    BitRate, CollectionItem, ContainerMapping, ContentFormat, Essence, FlowId, FlowStatus, MimeType, ProfileId,
    Rational, SourceId, Tags, TimeRange,
};
use crate::operations::FlowView;

shape! {
    /// A Flow: one encoding of a Source, on its own timeline.
    #[derive(Serialize)]
    struct FlowShape<'a> as "Flow" {
        required {
            id as "id": FlowId,
            source_id as "source_id": SourceId,
            format as "format": ContentFormat,
        }
        optional {
            /// A short name for people.
            label as "label": &'a str,
            /// A longer text for people.
            description as "description": &'a str,
            codec as "codec": &'a MimeType,
            /// What segments wrap the essence in.
            container as "container": &'a MimeType,
            /// As the format has it.
            essence_parameters as "essence_parameters": &'a Essence,
            /// 1,000 bit/s.
            avg_bit_rate as "avg_bit_rate": BitRate,
            /// 1,000 bit/s.
            max_bit_rate as "max_bit_rate": BitRate,
            /// Nominal duration of a segment in seconds.
            segment_duration as "segment_duration": Rational,
            container_mapping as "container_mapping": &'a ContainerMapping,
            /// The profile that the technical keys come from.
            profile_id as "profile_id": ProfileId,
            tags as "tags": &'a Tags,
            /// Copies away from the original.
            generation as "generation": u32,
            status as "status": FlowStatus,
            /// Whether the Flow refuses changes.
            read_only as "read_only": bool,
            /// Flows that this one collects, in order.
            flow_collection as "flow_collection": &'a [CollectionItem],
            /// Flows that collect this one.
            collected_by as "collected_by": &'a [FlowId],
            /// A new text with every change of the metadata.
            metadata_version as "metadata_version": &'a str,
            created as "created": Time,
            created_by as "created_by": &'a str,
            metadata_updated as "metadata_updated": Time,
            updated_by as "updated_by": &'a str,
            /// When segments were last registered or deleted.
            segments_updated as "segments_updated": Time,
            /// From the start of the first segment to the end of the last; only when it is asked for.
            timerange as "timerange": TimeRange,
        }
    }
}

impl<'a> From<&'a FlowView> for FlowShape<'a> {
    fn from(view: &'a FlowView) -> Self {
        let flow = &*view.flow;
        let technical = &flow.technical;
        Self {
            id: flow.id,
            source_id: flow.source_id,
            format: flow.format(),
            label: flow.label.as_deref(),
            description: flow.description.as_deref(),
            codec: technical.codec.as_ref(),
            container: technical.container.as_ref(),
            essence_parameters: Some(&technical.essence).filter(|essence| !matches!(essence, Essence::Multi(None))),
            avg_bit_rate: technical.avg_bit_rate,
            max_bit_rate: flow.max_bit_rate,
            segment_duration: technical.segment_duration,
            container_mapping: technical.container_mapping.as_ref(),
            profile_id: flow.profile_id,
            tags: Some(&flow.tags).filter(|tags| !tags.is_empty()),
            generation: flow.generation,
            status: flow.status,
            read_only: flow.read_only.then_some(true),
            flow_collection: Some(&*flow.flow_collection).filter(|items| !items.is_empty()),
            collected_by: Some(&*view.collected_by).filter(|ids| !ids.is_empty()),
            metadata_version: Some(&flow.metadata_version),
            created: Some(Time(flow.created)),
            created_by: flow.created_by.as_deref(),
            metadata_updated: Some(Time(flow.metadata_updated)),
            updated_by: flow.updated_by.as_deref(),
            segments_updated: view.segments_updated.map(Time),
            timerange: view.timerange,
        }
    }
}
