//! Registers segments on a Flow's timeline. Each item is decided on its own and sees the ones before it; one request is
//! one commit.
//! Spec: POST_flows-flowId-segments

use std::collections::BTreeSet;
use std::sync::Arc;

use super::object_sizes::{self, Sizes};
use super::{OperationError, SegmentRefusal, Tams};
use crate::catalog::{Change, Draft, ReadError, View};
use crate::domain::{
    Flow, FlowId, FlowSegment, Instance, MediaObject, ObjectId, ObjectKind, TimeRange, Timestamp, UtcTime,
};

#[derive(Debug, Clone)]
pub struct SegmentRequest {
    pub object_id: ObjectId,
    pub timerange: TimeRange,
    pub ts_offset: Timestamp,
    /// What the Object holds, where that is more than this segment uses; only counts at its first registration.
    pub object_timerange: Option<TimeRange>,
    pub last_duration: Option<Timestamp>,
    pub sample_offset: Option<i64>,
    pub sample_count: Option<i64>,
    /// Where the bytes are, of Objects that this server does not keep (or besides its own).
    pub get_urls: Option<Vec<UncontrolledUrl>>,
    pub key_frame_count: Option<i64>,
    pub init_object_id: Option<ObjectId>,
}

#[derive(Debug, Clone)]
pub struct UncontrolledUrl {
    pub url: String,
    /// Required since TAMS 8.0.
    pub label: Option<String>,
}

impl SegmentRequest {
    /// Bytes that it holds, about.
    fn weight(&self) -> usize {
        let urls = self.get_urls.iter().flatten();
        512 + self.object_id.as_str().len() + urls.map(|url| 64 + url.url.len()).sum::<usize>()
    }
}

/// What became of each item, in order.
type Outcomes = Vec<Result<(), SegmentRefusal>>;

/// Errors concern the whole request; then nothing was stored.
///
/// The media store is asked for the sizes of Objects that it keeps, in one go, before anything is decided.
pub async fn register_segments(
    tams: &Tams,
    flow_id: FlowId,
    requests: Vec<SegmentRequest>,
) -> Result<Outcomes, OperationError> {
    let named = requests.iter().flat_map(|request| std::iter::once(&request.object_id).chain(&request.init_object_id));
    let waiting = object_sizes::waiting(tams, named);
    let sizes = object_sizes::stored(tams, &waiting).await;
    let outcomes = register_sized_segments(tams, flow_id, requests, sizes.clone()).await?;
    // An upload may have ended meanwhile; from the commit on the bytes stay as they are.
    object_sizes::note_new(tams, waiting, &sizes).await;
    Ok(outcomes)
}

/// Likewise, with sizes of Objects from somebody who knows them.
pub async fn register_sized_segments(
    tams: &Tams,
    flow_id: FlowId,
    requests: Vec<SegmentRequest>,
    sizes: Sizes,
) -> Result<Outcomes, OperationError> {
    let label = tams.settings.storage_label.clone();
    let weight = 512 + requests.iter().map(SegmentRequest::weight).sum::<usize>();
    tams.catalog.commit(weight, move |state, now| decide(state, now, &label, flow_id, &requests, &sizes)).await
}

type Decided = (Vec<Change>, Outcomes);

fn decide(
    state: View<'_>,
    now: UtcTime,
    backend_label: &str,
    flow_id: FlowId,
    requests: &[SegmentRequest],
    sizes: &Sizes,
) -> Result<Decided, OperationError> {
    let flow = state.flow(flow_id).ok_or(OperationError::FlowNotFound(flow_id))?;
    if flow.read_only {
        return Err(OperationError::ReadOnly(flow_id));
    }
    if flow.technical.container.is_none() {
        return Err(OperationError::NoContainer(flow_id));
    }
    let mut draft = Draft::new(state, now);
    let mut outcomes = Vec::with_capacity(requests.len());
    let mut unread = None;
    for request in requests {
        let rules = Rules { state: draft.view(), now, backend_label, flow, request, sizes };
        match rules.decide() {
            Ok(outcome) => outcomes.push(outcome.map(|changes| draft.extend(changes))),
            // The others may have something to load as well.
            Err(error) => unread = Some(error),
        }
    }
    match unread {
        Some(error) => Err(error.into()),
        None => Ok((draft.into_changes(), outcomes)),
    }
}

/// A URL that players can fetch from elsewhere.
pub(super) fn is_http_url(url: &str) -> bool {
    let rest = ["http://", "https://"].iter().find_map(|scheme| url.strip_prefix(scheme));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/') && !url.contains(char::is_whitespace))
}

/// Why a segment is not decided for.
enum No {
    Refused(SegmentRefusal),
    /// Nothing is decided.
    Unread(ReadError),
}

impl From<SegmentRefusal> for No {
    fn from(refusal: SegmentRefusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<ReadError> for No {
    fn from(error: ReadError) -> Self {
        Self::Unread(error)
    }
}

/// The rules for one segment, against the state it would land on.
struct Rules<'a> {
    state: View<'a>,
    now: UtcTime,
    backend_label: &'a str,
    flow: &'a Flow,
    request: &'a SegmentRequest,
    sizes: &'a Sizes,
}

impl Rules<'_> {
    fn decide(&self) -> Result<Result<Vec<Change>, SegmentRefusal>, ReadError> {
        match self.try_decide() {
            Ok(changes) => Ok(Ok(changes)),
            Err(No::Refused(refusal)) => Ok(Err(refusal)),
            Err(No::Unread(error)) => Err(error),
        }
    }

    fn try_decide(&self) -> Result<Vec<Change>, No> {
        let mut segment = self.segment()?;
        let used = segment.used_object_timerange().ok_or(SegmentRefusal::OffsetOutOfRange(segment.timerange))?;
        let object = self.state.object(&segment.object_id)?;
        if self.state.is_condemned(&segment.object_id) {
            return Err(SegmentRefusal::ObjectCondemned(segment.object_id).into());
        }
        let (object, mut changes) = match object {
            Some(object) if object.is_registered() => {
                self.check_reuse(&object, used)?;
                (object, Vec::new())
            }
            object => self.first_registration(object.as_deref(), used)?,
        };
        segment.init_object.clone_from(&object.init_object);
        segment.object_place = Some(object.place()).filter(|place| Some(*place) != segment.likely_place());
        let (flow_id, new) = (self.flow.id, segment.timerange);
        if let Some(request) = self.state.deletion_in_the_way(flow_id, new, &segment.object_id)? {
            let remaining = request.timerange_remaining;
            return Err(SegmentRefusal::DeletionRunning { flow_id, new, remaining }.into());
        }
        if let Some(existing) = self.state.overlapping_segment(self.flow.id, segment.timerange)? {
            // The same registration again, as after an answer that got lost: it stands, nothing changes.
            return if existing.is_same_but_for_time(&segment) && changes.is_empty() {
                Ok(Vec::new())
            } else {
                Err(SegmentRefusal::Overlap {
                    flow_id: self.flow.id,
                    new: segment.timerange,
                    existing: existing.timerange,
                }
                .into())
            };
        }
        changes.push(Change::PutSegment(Arc::new(segment)));
        Ok(changes)
    }

    /// The segment itself, as far as it can be judged alone.
    fn segment(&self) -> Result<FlowSegment, SegmentRefusal> {
        let request = self.request;
        if !request.timerange.is_bounded() {
            return Err(SegmentRefusal::Timerange(request.timerange));
        }
        if request.last_duration.is_some_and(|duration| duration < Timestamp::ZERO) {
            return Err(SegmentRefusal::LastDurationNegative);
        }
        if let Some(negative) = request.key_frame_count.filter(|count| *count < 0) {
            return Err(SegmentRefusal::KeyFrameCountNegative(negative));
        }
        if let Some(open) = request.object_timerange.filter(|range| !range.is_bounded()) {
            return Err(SegmentRefusal::ObjectTimerange(open));
        }
        Ok(FlowSegment {
            flow_id: self.flow.id,
            timerange: request.timerange,
            object_id: request.object_id.clone(),
            ts_offset: request.ts_offset,
            last_duration: request.last_duration,
            sample_offset: request.sample_offset,
            sample_count: request.sample_count,
            // Both follow from the Object.
            init_object: None,
            object_place: None,
            registered: Some(self.now),
        })
    }

    /// An Object that others use already: what is said of it must be what is known, and only what it holds can be used.
    fn check_reuse(&self, object: &MediaObject, used: TimeRange) -> Result<(), SegmentRefusal> {
        let (request, object_id) = (self.request, || object.id.clone());
        let Some(has) = object.timerange.filter(|_| object.kind == Some(ObjectKind::Media)) else {
            return Err(SegmentRefusal::InitAsMedia(object_id()));
        };
        if request.get_urls.as_ref().is_some_and(|urls| !urls.is_empty()) && !self.repeats_urls(object) {
            return Err(SegmentRefusal::UrlsOfKnownObject(object_id()));
        }
        if let Some(given) = request.object_timerange.filter(|given| *given != has) {
            return Err(SegmentRefusal::ObjectTimerangeConflict { object_id: object_id(), has, given });
        }
        if let Some(given) = request.key_frame_count.filter(|given| object.key_frame_count != Some(*given)) {
            let has = object.key_frame_count;
            return Err(SegmentRefusal::KeyFrameCountConflict { object_id: object_id(), has, given });
        }
        if let Some(given) = request.init_object_id.as_ref().filter(|given| object.init_object.as_ref() != Some(given))
        {
            let has = object.init_object.clone();
            return Err(SegmentRefusal::InitConflict { object_id: object_id(), has, given: given.clone() });
        }
        if self.flow_has_init_segments() && object.init_object.is_none() {
            return Err(SegmentRefusal::InitMissing(self.flow.id));
        }
        if !has.contains(&used) {
            return Err(SegmentRefusal::OutsideObject { object_id: object_id(), used, object_timerange: has });
        }
        // Its init object may have gone before it: nothing refers to either.
        if let Some(init) = object.init_object.as_ref().filter(|init| self.state.is_condemned(init)) {
            return Err(SegmentRefusal::ObjectCondemned(init.clone()));
        }
        Ok(())
    }

    /// Whether the URLs given are exactly those the Object came with, as in a repeated request.
    fn repeats_urls(&self, object: &MediaObject) -> bool {
        let known: BTreeSet<(&str, Option<&str>)> = object
            .instances
            .iter()
            .filter_map(|instance| match instance {
                Instance::Uncontrolled { url, label } => Some((url.as_str(), label.as_deref())),
                Instance::Controlled { .. } => None,
            })
            .collect();
        let given = self.request.get_urls.iter().flatten().map(|url| (url.url.as_str(), url.label.as_deref()));
        given.collect::<BTreeSet<_>>() == known
    }

    /// The Object's first segment fixes what is known of it. It was allocated for this Flow, or lives elsewhere.
    fn first_registration(
        &self,
        allocated: Option<&MediaObject>,
        used: TimeRange,
    ) -> Result<(Arc<MediaObject>, Vec<Change>), No> {
        let request = self.request;
        let object_timerange = request.object_timerange.unwrap_or(used);
        if !object_timerange.contains(&used) {
            let object_id = request.object_id.clone();
            return Err(SegmentRefusal::OutsideObject { object_id, used, object_timerange }.into());
        }
        let uncontrolled = self.uncontrolled_instances()?;
        let mut object = match allocated {
            Some(allocated) => {
                self.check_allocation(allocated)?;
                MediaObject { size_bytes: self.sizes.get(&allocated.id).copied(), ..allocated.clone() }
            }
            None if uncontrolled.is_empty() => {
                return Err(SegmentRefusal::ObjectUnknown(request.object_id.clone()).into());
            }
            None => MediaObject {
                id: request.object_id.clone(),
                kind: None,
                first_flow: self.flow.id,
                timerange: None,
                key_frame_count: None,
                init_object: None,
                allocation: None,
                instances: Vec::new(),
                condemned_instances: Vec::new(),
                condemned: false,
                created: self.now,
                size_bytes: None,
            },
        };
        let mut changes = self.init_object()?;
        object.kind = Some(ObjectKind::Media);
        object.timerange = Some(object_timerange);
        object.key_frame_count = request.key_frame_count;
        object.init_object.clone_from(&request.init_object_id);
        object.instances.extend(uncontrolled);
        let object = Arc::new(object);
        changes.push(Change::PutObject(object.clone()));
        Ok((object, changes))
    }

    fn check_allocation(&self, object: &MediaObject) -> Result<(), SegmentRefusal> {
        if object.first_flow != self.flow.id {
            let (object_id, allocated_for) = (object.id.clone(), object.first_flow);
            return Err(SegmentRefusal::ObjectOfOtherFlow { object_id, allocated_for });
        }
        if object.allocation.as_ref().is_some_and(|allocation| allocation.expires <= self.now) {
            return Err(SegmentRefusal::AllocationExpired(object.id.clone()));
        }
        Ok(())
    }

    fn uncontrolled_instances(&self) -> Result<Vec<Instance>, SegmentRefusal> {
        let mut labels = BTreeSet::new();
        let urls = self.request.get_urls.iter().flatten().map(|UncontrolledUrl { url, label }| {
            if let Some(label) = label {
                if !labels.insert(label) {
                    return Err(SegmentRefusal::LabelTwice(label.clone()));
                }
                if label == self.backend_label {
                    return Err(SegmentRefusal::LabelOfBackend(label.clone()));
                }
            }
            if !is_http_url(url) {
                return Err(SegmentRefusal::NotAUrl(url.chars().take(128).collect()));
            }
            Ok(Instance::Uncontrolled { url: url.clone(), label: label.clone() })
        });
        urls.collect()
    }

    fn flow_has_init_segments(&self) -> bool {
        self.flow.technical.essence.init_segments().unwrap_or(false)
    }

    /// The init object of a new media object: used before, or registered now.
    fn init_object(&self) -> Result<Vec<Change>, No> {
        let id = match (&self.request.init_object_id, self.flow_has_init_segments()) {
            (None, false) => return Ok(Vec::new()),
            (None, true) => return Err(SegmentRefusal::InitMissing(self.flow.id).into()),
            (Some(_), false) => return Err(SegmentRefusal::InitUnexpected(self.flow.id).into()),
            (Some(id), true) => id,
        };
        if *id == self.request.object_id {
            return Err(SegmentRefusal::MediaAsInit(id.clone()).into());
        }
        if self.state.is_condemned(id) {
            return Err(SegmentRefusal::ObjectCondemned(id.clone()).into());
        }
        let object = self.state.init_object(id)?.ok_or_else(|| SegmentRefusal::ObjectUnknown(id.clone()))?;
        match object.kind {
            Some(ObjectKind::Init) => Ok(Vec::new()),
            Some(ObjectKind::Media) => Err(SegmentRefusal::MediaAsInit(id.clone()).into()),
            None => {
                self.check_allocation(&object)?;
                let size_bytes = self.sizes.get(id).copied();
                let init = MediaObject { kind: Some(ObjectKind::Init), size_bytes, ..MediaObject::clone(&object) };
                Ok(vec![Change::PutObject(Arc::new(init))])
            }
        }
    }
}
