//! Changes one property of a Flow.
//! Spec: PUT_flows-flowId-label and the other sub-resources of a Flow, with their DELETE

use std::sync::Arc;

use super::put_flow::next_version;
use super::{OperationError, Tams, flow_collection};
use crate::catalog::{Change, State};
use crate::domain::{BitRate, CollectionItem, Flow, FlowId, TagValue, UtcTime};

/// `None` unsets.
#[derive(Debug, Clone)]
pub enum FlowEdit {
    Label(Option<String>),
    Description(Option<String>),
    PutTag(String, TagValue),
    DeleteTag(String),
    ReadOnly(bool),
    MaxBitRate(Option<BitRate>),
    AvgBitRate(Option<BitRate>),
    FlowCollection(Vec<CollectionItem>),
}

impl FlowEdit {
    /// Bytes that it holds, about.
    fn weight(&self) -> usize {
        2_048
            + match self {
                Self::Label(text) | Self::Description(text) => text.as_ref().map_or(0, String::len),
                Self::PutTag(name, value) => name.len() + value.bytes(),
                Self::FlowCollection(items) => items.len() * 256,
                Self::DeleteTag(_) | Self::ReadOnly(_) | Self::MaxBitRate(_) | Self::AvgBitRate(_) => 0,
            }
    }
}

/// As [`super::FlowMeaning`], of one property.
pub type FlowEditMeaning = fn(&State, &Flow, &mut FlowEdit);

pub async fn edit_flow(
    tams: &Tams,
    id: FlowId,
    edit: FlowEdit,
    meaning: Option<FlowEditMeaning>,
) -> Result<(), OperationError> {
    tams.catalog
        .commit(edit.weight(), move |state, now| {
            let mut edit = edit.clone();
            if let (Some(meaning), Some(stored)) = (meaning, state.flow(id)) {
                meaning(&state, stored, &mut edit);
            }
            Ok((decide(&state, now, id, edit)?, ()))
        })
        .await
}

fn decide(state: &State, now: UtcTime, id: FlowId, edit: FlowEdit) -> Result<Vec<Change>, OperationError> {
    let old = state.flow(id).ok_or(OperationError::FlowNotFound(id))?;
    if old.read_only && !matches!(edit, FlowEdit::ReadOnly(_)) {
        return Err(OperationError::ReadOnly(id));
    }
    let mut flow = Flow::clone(old);
    match edit {
        FlowEdit::Label(label) => flow.label = label,
        FlowEdit::Description(description) => flow.description = description,
        FlowEdit::PutTag(name, value) => drop(flow.tags.insert(name, value)),
        FlowEdit::DeleteTag(name) => {
            flow.tags.remove(&name).ok_or(OperationError::TagNotFound(name))?;
        }
        FlowEdit::ReadOnly(read_only) => flow.read_only = read_only,
        FlowEdit::MaxBitRate(rate) => flow.max_bit_rate = rate,
        FlowEdit::AvgBitRate(_) if flow.profile_id.is_some() => return Err(OperationError::ProfileLinked(id)),
        FlowEdit::AvgBitRate(rate) => flow.technical.avg_bit_rate = rate,
        FlowEdit::FlowCollection(collection) => {
            flow_collection::check(state, id, old.source_id, &collection)?;
            flow.flow_collection = collection;
        }
    }
    if flow == **old {
        return Ok(Vec::new());
    }
    Ok(vec![touched(flow, now)])
}

/// The Flow with new stamps, as metadata changes give it.
pub(super) fn touched(mut flow: Flow, now: UtcTime) -> Change {
    flow.metadata_version = next_version(&flow.metadata_version, now);
    flow.metadata_updated = now;
    Change::PutFlow(Arc::new(flow))
}
