//! The catalogue's state at one place of the log: persistent maps, so that a copy costs nothing and a reader keeps the
//! state it started with. A state follows from the log alone; nothing here knows how the log is kept.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use super::change::{Change, Lsn, SegmentKey};
use super::entry::Hash;
use crate::domain::{
    DeleteRequest, DeleteRequestId, Flow, FlowId, FlowSegment, MediaObject, ObjectId, ObjectKind, Profile, ProfileId,
    ServiceInfo, Source, SourceId, TimeRange, UtcTime, Webhook, WebhookId,
};

/// A row and the commit that wrote it.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored<T> {
    pub lsn: Lsn,
    pub row: Arc<T>,
}

#[derive(Debug, Clone)]
pub struct State {
    /// The last entry that is part of it; 0 for an empty catalogue.
    pub(super) seq: u64,
    /// When that entry was committed; time in the log never runs backwards.
    pub(super) committed: UtcTime,
    pub(super) hash: Hash,

    pub(super) service: Stored<ServiceInfo>,
    pub(super) sources: OrdMap<SourceId, Stored<Source>>,
    pub(super) flows: OrdMap<FlowId, Stored<Flow>>,
    pub(super) objects: OrdMap<ObjectId, Stored<MediaObject>>,
    pub(super) segments: OrdMap<SegmentKey, Stored<FlowSegment>>,
    pub(super) segments_updated: OrdMap<FlowId, UtcTime>,
    pub(super) profiles: OrdMap<ProfileId, Stored<Profile>>,
    pub(super) delete_requests: OrdMap<DeleteRequestId, Stored<DeleteRequest>>,
    pub(super) webhooks: OrdMap<WebhookId, Stored<Webhook>>,

    // What follows from the tables above.
    pub(super) flows_by_source: OrdSet<(SourceId, FlowId)>,
    /// (member, collector)
    pub(super) collectors: OrdSet<(FlowId, FlowId)>,
    /// How many segments of a Flow refer to an Object.
    pub(super) references: OrdMap<(ObjectId, FlowId), u64>,
    /// (init object, media object that needs it)
    pub(super) init_users: OrdSet<(ObjectId, ObjectId)>,
    /// Registered Objects that nothing refers to any more, and storage that expired unregistered: never to be used
    /// again, their bytes to be deleted.
    pub(super) condemned: OrdSet<ObjectId>,
    /// Storage handed out and not registered yet, by expiry.
    pub(super) allocations: OrdSet<(UtcTime, ObjectId)>,
    /// Objects with deleted instances whose bytes are about to be deleted.
    pub(super) with_condemned_instances: OrdSet<ObjectId>,
    /// Flow Delete Requests that are not done, by Flow.
    pub(super) unfinished_deletions: OrdMap<FlowId, Vec<Arc<DeleteRequest>>>,
}

/// A decision in several steps, each of which sees the ones before it.
pub struct Draft<'a> {
    base: &'a State,
    /// The base with the first `applied` changes.
    scratch: Option<State>,
    applied: usize,
    changes: Vec<Change>,
    now: UtcTime,
}

impl<'a> Draft<'a> {
    pub fn new(base: &'a State, now: UtcTime) -> Self {
        Self { base, scratch: None, applied: 0, changes: Vec::new(), now }
    }

    /// The state with everything pushed so far.
    pub fn state(&mut self) -> &State {
        let pending = self.changes.get(self.applied..).unwrap_or_default();
        if pending.is_empty() {
            return self.scratch.as_ref().unwrap_or(self.base);
        }
        let scratch = self.scratch.get_or_insert_with(|| self.base.clone());
        for change in pending {
            // One that does not apply here will not apply when it is committed, and is refused there.
            if scratch.apply(change, Lsn::default(), self.now).is_err() {
                break;
            }
        }
        self.applied = self.changes.len();
        scratch
    }

    pub fn extend(&mut self, changes: Vec<Change>) {
        self.changes.extend(changes);
    }

    pub fn into_changes(self) -> Vec<Change> {
        self.changes
    }
}

/// A change that contradicts the state: of a log entry, damage; of a decision, a bug.
#[derive(Debug, Clone, thiserror::Error)]
#[error("change {index}: {reason}")]
pub struct ApplyError {
    pub index: u32,
    pub reason: String,
}

/// A stretch of a Flow's segments, in timeline order or against it.
#[derive(Debug, Clone)]
pub struct SegmentScan {
    pub flow_id: FlowId,
    /// Segments that overlap it.
    pub timerange: TimeRange,
    pub reverse_order: bool,
    /// Start key of the segment after which to go on.
    pub after: Option<i128>,
}

impl State {
    pub fn empty() -> Self {
        Self {
            seq: 0,
            committed: UtcTime::UNIX_EPOCH,
            hash: [0; 32],
            service: Stored { lsn: Lsn::default(), row: Arc::default() },
            sources: OrdMap::new(),
            flows: OrdMap::new(),
            objects: OrdMap::new(),
            segments: OrdMap::new(),
            segments_updated: OrdMap::new(),
            profiles: OrdMap::new(),
            delete_requests: OrdMap::new(),
            webhooks: OrdMap::new(),
            flows_by_source: OrdSet::new(),
            collectors: OrdSet::new(),
            references: OrdMap::new(),
            init_users: OrdSet::new(),
            condemned: OrdSet::new(),
            allocations: OrdSet::new(),
            with_condemned_instances: OrdSet::new(),
            unfinished_deletions: OrdMap::new(),
        }
    }

    /// Number of the last log entry that is part of this state.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    pub fn service(&self) -> &ServiceInfo {
        &self.service.row
    }

    pub fn profile(&self, id: ProfileId) -> Option<&Arc<Profile>> {
        self.profiles.get(&id).map(|stored| &stored.row)
    }

    /// All Profiles, by id.
    pub fn profiles(&self) -> impl Iterator<Item = &Arc<Profile>> {
        self.profiles.values().map(|stored| &stored.row)
    }

    pub fn webhook(&self, id: WebhookId) -> Option<&Arc<Webhook>> {
        self.webhooks.get(&id).map(|stored| &stored.row)
    }

    /// All Webhooks, by id.
    pub fn webhooks(&self) -> impl Iterator<Item = &Arc<Webhook>> {
        self.webhooks.values().map(|stored| &stored.row)
    }

    pub fn source(&self, id: SourceId) -> Option<&Arc<Source>> {
        self.sources.get(&id).map(|stored| &stored.row)
    }

    /// All Sources, by id.
    pub fn sources(&self) -> impl Iterator<Item = &Arc<Source>> {
        self.sources.values().map(|stored| &stored.row)
    }

    pub fn flow(&self, id: FlowId) -> Option<&Arc<Flow>> {
        self.flows.get(&id).map(|stored| &stored.row)
    }

    /// All Flows, by id.
    pub fn flows(&self) -> impl Iterator<Item = &Arc<Flow>> {
        self.flows.values().map(|stored| &stored.row)
    }

    /// The Flows of a Source, by id.
    pub fn flows_of_source(&self, id: SourceId) -> impl Iterator<Item = &Arc<Flow>> {
        self.flows_by_source.range((id, FlowId::MIN)..=(id, FlowId::MAX)).filter_map(|(_, flow_id)| self.flow(*flow_id))
    }

    /// Flows that collect this one, by id.
    pub fn collectors_of(&self, member: FlowId) -> impl Iterator<Item = FlowId> {
        self.collectors.range((member, FlowId::MIN)..=(member, FlowId::MAX)).map(|(_, collector)| *collector)
    }

    /// When segments of the Flow were last registered or deleted.
    pub fn segments_updated(&self, id: FlowId) -> Option<UtcTime> {
        self.segments_updated.get(&id).copied()
    }

    /// An Object in whatever stage of its life: handed out, registered or condemned.
    pub fn object(&self, id: &ObjectId) -> Option<&Arc<MediaObject>> {
        self.objects.get(id).map(|stored| &stored.row)
    }

    /// Whether an Object lost its last reference: it cannot be used again.
    pub fn is_condemned(&self, id: &ObjectId) -> bool {
        self.condemned.contains(id)
    }

    pub fn condemned(&self) -> impl Iterator<Item = &Arc<MediaObject>> {
        self.condemned.iter().filter_map(|id| self.object(id))
    }

    /// Objects with deleted instances whose bytes are still to go.
    pub fn with_condemned_instances(&self) -> impl Iterator<Item = &Arc<MediaObject>> {
        self.with_condemned_instances.iter().filter_map(|id| self.object(id))
    }

    /// Storage that was handed out, never registered, and is due by now.
    pub fn expired_allocations(&self, now: UtcTime) -> impl Iterator<Item = &Arc<MediaObject>> {
        self.allocations.iter().take_while(move |(expires, _)| *expires <= now).filter_map(|(_, id)| self.object(id))
    }

    /// When the next unregistered allocation is due.
    pub fn next_expiry(&self) -> Option<UtcTime> {
        self.allocations.get_min().map(|(expires, _)| *expires)
    }

    /// Flows whose segments use the Object (an init object's: through its media objects), by id, each once. Flows that
    /// are gone, although not all of their segments are, do not count.
    pub fn flows_referring_to<'a>(
        &'a self,
        object: &MediaObject,
        after: Option<FlowId>,
    ) -> Box<dyn Iterator<Item = FlowId> + 'a> {
        if object.kind == Some(ObjectKind::Init) {
            // Media objects come by id, so their Flows must be gathered to be put in order.
            let flows: std::collections::BTreeSet<FlowId> = self
                .init_users
                .range((object.id.clone(), ObjectId::before_all())..)
                .take_while(|(init, _)| *init == object.id)
                .flat_map(|(_, media)| self.flows_using(media, None))
                .filter(|id| self.flows.contains_key(id))
                .filter(|id| after.is_none_or(|after| *id > after))
                .collect();
            return Box::new(flows.into_iter());
        }
        Box::new(self.flows_using(&object.id, after).filter(|id| self.flows.contains_key(id)))
    }

    fn flows_using<'a>(&'a self, id: &ObjectId, after: Option<FlowId>) -> impl Iterator<Item = FlowId> + use<'a> {
        let from = std::ops::Bound::Included((id.clone(), FlowId::MIN));
        let from = after.map_or(from, |after| std::ops::Bound::Excluded((id.clone(), after)));
        let to = std::ops::Bound::Included((id.clone(), FlowId::MAX));
        self.references.range((from, to)).map(|((_, flow_id), _)| *flow_id)
    }

    /// From the first start to the last end of the Flow's segments that overlap `within`; never where there are none.
    pub fn segments_extent(&self, flow_id: FlowId, within: TimeRange) -> TimeRange {
        let scan = |reverse_order| SegmentScan { flow_id, timerange: within, reverse_order, after: None };
        let first = self.scan_segments(&scan(false)).next();
        let last = self.scan_segments(&scan(true)).next();
        match (first, last) {
            (Some(first), Some(last)) => first.timerange.hull(&last.timerange),
            _ => TimeRange::NEVER,
        }
    }

    /// The segment that overlaps, if any.
    pub fn overlapping_segment(&self, flow_id: FlowId, timerange: TimeRange) -> Option<&Arc<FlowSegment>> {
        let scan = SegmentScan { flow_id, timerange, reverse_order: false, after: None };
        self.scan_segments(&scan).next()
    }

    pub fn segment(&self, key: &SegmentKey) -> Option<&Arc<FlowSegment>> {
        self.segments.get(key).map(|stored| &stored.row)
    }

    /// Applies one change. On an error the state may be half changed: throw it away.
    pub(super) fn apply(&mut self, change: &Change, lsn: Lsn, now: UtcTime) -> Result<(), ApplyError> {
        let outcome = match change {
            Change::PutService(service) => {
                self.service = Stored { lsn, row: service.clone() };
                Ok(())
            }
            Change::PutProfile(profile) => {
                self.profiles.insert(profile.id, Stored { lsn, row: profile.clone() });
                Ok(())
            }
            Change::PutDeleteRequest(request) => {
                self.put_delete_request(request, lsn);
                Ok(())
            }
            Change::DropDeleteRequest(id) => self.drop_delete_request(*id),
            Change::PutWebhook(webhook) => {
                self.webhooks.insert(webhook.id, Stored { lsn, row: webhook.clone() });
                Ok(())
            }
            Change::DeleteWebhook(id) => self.webhooks.remove(id).map(drop).ok_or("the webhook to delete is not there"),
            Change::AppendEvent(_) => Ok(()),
            Change::PutSource(source) => {
                self.sources.insert(source.id, Stored { lsn, row: source.clone() });
                Ok(())
            }
            Change::DeleteSource(id) => self.delete_source(*id),
            Change::PutFlow(flow) => self.put_flow(flow, lsn),
            Change::DeleteFlow(id) => self.delete_flow(*id),
            Change::PutObject(object) => {
                self.put_object(object, lsn);
                Ok(())
            }
            Change::DeleteObject(id) => self.delete_object(id),
            Change::PutSegment(segment) => {
                self.segments_updated.insert(segment.flow_id, now);
                self.put_segment(segment, lsn)
            }
            Change::DeleteSegment(key) => {
                self.segments_deleted(key.flow_id, now);
                self.delete_segment(key)
            }
            Change::DeleteSegmentsWithin { flow_id, timerange } => {
                self.segments_deleted(*flow_id, now);
                self.delete_within(*flow_id, *timerange)
            }
        };
        outcome.map_err(|reason| ApplyError { index: lsn.index, reason: reason.to_owned() })
    }

    pub(super) fn put_flow(&mut self, flow: &Arc<Flow>, lsn: Lsn) -> Result<(), &'static str> {
        if let Some(old) = self.flows.insert(flow.id, Stored { lsn, row: flow.clone() }) {
            self.forget_links(&old.row);
        }
        self.flows_by_source.insert((flow.source_id, flow.id));
        self.collectors.extend(flow.flow_collection.iter().map(|item| (item.id, flow.id)));
        if self.sources.contains_key(&flow.source_id) { Ok(()) } else { Err("a Flow is put without its Source") }
    }

    fn delete_source(&mut self, id: SourceId) -> Result<(), &'static str> {
        self.sources.remove(&id).ok_or("the Source to delete is not there")?;
        if self.flows_of_source(id).next().is_some() {
            return Err("a Source is deleted before its Flows");
        }
        Ok(())
    }

    fn delete_flow(&mut self, id: FlowId) -> Result<(), &'static str> {
        let old = self.flows.remove(&id).ok_or("the Flow to delete is not there")?;
        self.forget_links(&old.row);
        self.segments_updated.remove(&id);
        if !self.is_being_deleted(id) && self.overlapping_stored(id, TimeRange::ETERNITY).is_some() {
            return Err("a Flow is deleted before its segments");
        }
        Ok(())
    }

    /// A Flow that is gone already has no time of its own any more.
    fn segments_deleted(&mut self, id: FlowId, now: UtcTime) {
        if self.flows.contains_key(&id) {
            self.segments_updated.insert(id, now);
        }
    }

    fn overlapping_stored(&self, flow_id: FlowId, timerange: TimeRange) -> Option<&Arc<FlowSegment>> {
        let scan = SegmentScan { flow_id, timerange, reverse_order: false, after: None };
        self.scan_stored(&scan).next()
    }

    fn forget_links(&mut self, flow: &Flow) {
        self.flows_by_source.remove(&(flow.source_id, flow.id));
        for item in &flow.flow_collection {
            self.collectors.remove(&(item.id, flow.id));
        }
    }

    pub(super) fn put_object(&mut self, object: &Arc<MediaObject>, lsn: Lsn) {
        if let Some(old) = self.objects.insert(object.id.clone(), Stored { lsn, row: object.clone() }) {
            self.forget_object_links(&old.row);
        }
        if object.condemned {
            self.condemned.insert(object.id.clone());
        } else if !object.is_registered()
            && let Some(allocation) = &object.allocation
        {
            self.allocations.insert((allocation.expires, object.id.clone()));
        }
        if let Some(init) = &object.init_object {
            self.init_users.insert((init.clone(), object.id.clone()));
        }
        if !object.condemned_instances.is_empty() {
            self.with_condemned_instances.insert(object.id.clone());
        }
    }

    fn forget_object_links(&mut self, object: &MediaObject) {
        if let Some(allocation) = &object.allocation {
            self.allocations.remove(&(allocation.expires, object.id.clone()));
        }
        if let Some(init) = &object.init_object {
            self.init_users.remove(&(init.clone(), object.id.clone()));
        }
        self.with_condemned_instances.remove(&object.id);
    }

    fn delete_object(&mut self, id: &ObjectId) -> Result<(), &'static str> {
        let old = self.objects.remove(id).ok_or("the Object to delete is not there")?;
        if self.is_referenced(id) {
            return Err("an Object is deleted while something refers to it");
        }
        self.condemned.remove(id);
        self.forget_object_links(&old.row);
        if let Some(init) = &old.row.init_object {
            self.condemn_if_unused(init);
        }
        Ok(())
    }

    pub(super) fn put_segment(&mut self, segment: &Arc<FlowSegment>, lsn: Lsn) -> Result<(), &'static str> {
        // From a checkpoint come segments of a Flow that went before them.
        if !self.flows.contains_key(&segment.flow_id) && !self.is_being_deleted(segment.flow_id) {
            return Err("a segment is put without its Flow");
        }
        if self.overlapping_stored(segment.flow_id, segment.timerange).is_some() {
            return Err("a segment overlaps another of its Flow");
        }
        match self.object(&segment.object_id) {
            Some(object) if object.kind == Some(ObjectKind::Media) => {}
            _ => return Err("a segment refers to an Object that is not registered as media"),
        }
        // Its bytes may be gone already.
        if self.is_condemned(&segment.object_id) {
            return Err("a segment refers to an Object that is condemned");
        }
        self.segments.insert(SegmentKey::of(segment), Stored { lsn, row: segment.clone() });
        *self.references.entry((segment.object_id.clone(), segment.flow_id)).or_insert(0) += 1;
        Ok(())
    }

    fn delete_segment(&mut self, key: &SegmentKey) -> Result<(), &'static str> {
        let old = self.segments.remove(key).ok_or("the segment to delete is not there")?;
        let reference = (old.row.object_id.clone(), old.row.flow_id);
        let count = self.references.remove(&reference).ok_or("a segment's reference is not counted")?;
        if count > 1 {
            self.references.insert(reference, count - 1);
        } else {
            self.condemn_if_unused(&old.row.object_id);
        }
        Ok(())
    }

    fn delete_within(&mut self, flow_id: FlowId, timerange: TimeRange) -> Result<(), &'static str> {
        // It has no ends, and would be read from the log as eternity.
        if timerange.is_never() {
            return Err("segments are deleted within no time at all");
        }
        let scan = SegmentScan { flow_id, timerange, reverse_order: false, after: None };
        let keys: Vec<SegmentKey> = self
            .scan_stored(&scan)
            .filter(|segment| timerange.contains(&segment.timerange))
            .map(|segment| SegmentKey::of(segment))
            .collect();
        keys.iter().try_for_each(|key| self.delete_segment(key))
    }

    fn is_referenced(&self, id: &ObjectId) -> bool {
        self.flows_using(id, None).next().is_some()
            || self.init_users.range((id.clone(), ObjectId::before_all())..).next().is_some_and(|(init, _)| init == id)
    }

    pub(super) fn condemn_if_unused(&mut self, id: &ObjectId) {
        let registered = self.object(id).is_some_and(|object| object.is_registered());
        if registered && !self.is_referenced(id) {
            self.condemned.insert(id.clone());
        }
    }
}
