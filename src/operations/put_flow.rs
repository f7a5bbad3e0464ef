//! Creates a Flow, with its Source if that is new, or replaces a Flow's metadata as a whole.
//! Spec: PUT_flows-flowId

use std::borrow::Cow;
use std::sync::Arc;

use super::{FlowView, OperationError, Tams, flow_collection};
use crate::catalog::{Change, State, View};
use crate::domain::{
    BitRate, CollectionItem, Flow, FlowId, FlowStatus, ProfileId, Source, SourceId, Tags, Technical, TimeRange,
    UtcTime, tags,
};

/// A Flow as a client describes it; what the server manages is not part of it.
#[derive(Debug, Clone)]
pub struct FlowRequest {
    pub id: FlowId,
    pub source_id: SourceId,
    pub label: Option<String>,
    pub description: Option<String>,
    pub tags: Tags,
    pub generation: Option<u32>,
    pub status: Option<FlowStatus>,
    pub read_only: bool,
    pub max_bit_rate: Option<BitRate>,
    pub technical: TechnicalFrom,
    pub flow_collection: Vec<CollectionItem>,
    pub metadata_version: Option<String>,
    pub created_by: Option<String>,
    pub updated_by: Option<String>,
}

/// Where a Flow's technical metadata comes from.
#[derive(Debug, Clone)]
pub enum TechnicalFrom {
    /// The Flow has no profile, or none any more.
    Client(Box<Technical>),
    /// Copied from the profile, which never changes, and kept equal to it.
    Profile(ProfileId),
}

impl FlowRequest {
    /// Bytes that it holds, about.
    fn weight(&self) -> usize {
        let texts = [&self.label, &self.description, &self.metadata_version, &self.created_by, &self.updated_by];
        4_096
            + texts.into_iter().flatten().map(String::len).sum::<usize>()
            + tags::bytes(&self.tags)
            + self.flow_collection.len() * 256
    }
}

#[derive(Debug)]
pub enum PutFlow {
    Created(Box<FlowView>),
    Updated,
}

/// Changes what a client wrote into what it means, given the Flow that it replaces: for clients that do not see all of it.
pub type FlowMeaning = fn(&State, &Flow, &mut FlowRequest);

pub async fn put_flow(
    tams: &Tams,
    request: FlowRequest,
    meaning: Option<FlowMeaning>,
) -> Result<PutFlow, OperationError> {
    tams.catalog
        .commit(request.weight(), move |state, now| {
            let request = match (meaning, state.flow(request.id)) {
                (Some(meaning), Some(stored)) => {
                    let mut meant = request.clone();
                    meaning(&state, stored, &mut meant);
                    Cow::Owned(meant)
                }
                _ => Cow::Borrowed(&request),
            };
            let (flow, changes) = decide(state, now, &request)?;
            let outcome = if state.flow(request.id).is_some() {
                PutFlow::Updated
            } else {
                PutFlow::Created(Box::new(FlowView::new(&state, &flow)))
            };
            Ok((changes, outcome))
        })
        .await
}

fn decide(state: View<'_>, now: UtcTime, request: &FlowRequest) -> Result<(Arc<Flow>, Vec<Change>), OperationError> {
    let existing = state.flow(request.id);
    if existing.is_some_and(|flow| flow.read_only) {
        return Err(OperationError::ReadOnly(request.id));
    }
    if state.is_being_deleted(request.id) {
        return Err(OperationError::FlowBeingDeleted(request.id));
    }
    let (technical, profile_id) = match &request.technical {
        TechnicalFrom::Client(technical) => (&**technical, None),
        TechnicalFrom::Profile(id) => {
            let profile = state.profile(*id).ok_or(OperationError::ProfileUnknown(*id))?;
            (&profile.technical, Some(*id))
        }
    };
    let format = technical.essence.format();
    if let Some(flow) = existing.filter(|flow| flow.format() != format) {
        return Err(OperationError::FormatChange { flow_id: request.id, has: flow.format(), wants: format });
    }
    let source = state.source(request.source_id);
    if let Some(source) = source.filter(|source| source.format != format) {
        return Err(OperationError::SourceFormat { source_id: source.id, has: source.format, flow: format });
    }
    if technical.container.is_none()
        && existing.is_some_and(|flow| flow.technical.container.is_some())
        && !state.segments_extent(request.id, TimeRange::ETERNITY)?.is_never()
    {
        return Err(OperationError::ContainerInUse(request.id));
    }
    flow_collection::check(&state, request.id, request.source_id, &request.flow_collection)?;

    let flow = Arc::new(Flow {
        id: request.id,
        source_id: request.source_id,
        label: request.label.clone(),
        description: request.description.clone(),
        tags: request.tags.clone(),
        generation: request.generation,
        status: request.status,
        read_only: request.read_only,
        max_bit_rate: request.max_bit_rate,
        technical: technical.clone(),
        profile_id,
        flow_collection: request.flow_collection.clone(),
        metadata_version: match existing {
            None => request.metadata_version.clone().unwrap_or_else(|| "1".into()),
            Some(old) => request
                .metadata_version
                .clone()
                .filter(|version| *version != old.metadata_version)
                .unwrap_or_else(|| next_version(&old.metadata_version, now)),
        },
        created: existing.map_or(now, |old| old.created),
        created_by: existing.map_or_else(|| request.created_by.clone(), |old| old.created_by.clone()),
        metadata_updated: now,
        updated_by: request.updated_by.clone(),
    });
    let mut changes = Vec::new();
    if source.is_none() {
        // The first Flow's words are the best the new Source can have; later Flows do not change it.
        changes.push(Change::PutSource(Arc::new(Source {
            id: request.source_id,
            format,
            label: request.label.clone(),
            description: request.description.clone(),
            tags: request.tags.clone(),
            created: now,
            created_by: request.created_by.clone(),
            updated: now,
            updated_by: request.updated_by.clone(),
        })));
    }
    changes.push(Change::PutFlow(flow.clone()));
    if let Some(old) = existing.filter(|old| old.source_id != request.source_id) {
        changes.extend(orphaned_source(&state, old));
    }
    Ok((flow, changes))
}

/// The deletion of the Flow's Source, if no other Flow has it.
pub(super) fn orphaned_source(state: &State, flow: &Flow) -> Option<Change> {
    let others = state.flows_of_source(flow.source_id).any(|other| other.id != flow.id);
    (!others).then_some(Change::DeleteSource(flow.source_id))
}

/// Counts up where the version is a number, as the server's own are; a client's own text is followed by the time.
pub(super) fn next_version(old: &str, now: UtcTime) -> String {
    match old.parse::<u64>().ok().and_then(|number| number.checked_add(1)) {
        Some(next) => next.to_string(),
        None => now.timestamp_micros().to_string(),
    }
}
