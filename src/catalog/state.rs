//! The catalogue's state at one place of the log: persistent maps, so that a copy costs nothing and a reader keeps the
//! state it started with. A state follows from the log alone; nothing here knows how the log is kept, or reads a file.
//!
//! Segments, Objects and references have two homes: those that were written lately are here (*hot*), the others are rows
//! of cold files, of which only the list is here. What is asked of both is asked of a [`super::View`].

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use super::change::{self, Change, Lsn, ReferenceKey, SegmentKey, object_hash};
use super::cold::{ColdFile, ColdTable};
use super::entry::Hash;
use super::snapshot::SmallTables;
use super::tombstones::Tombstones;
use crate::domain::{
    DeleteRequest, DeleteRequestId, Flow, FlowId, FlowSegment, MediaObject, ObjectId, ObjectKind, ObjectPlace, Profile,
    ProfileId, ServiceInfo, Source, SourceId, TimeRange, UtcTime, Webhook, WebhookId,
};

/// A row and the commit that wrote it.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored<T> {
    pub lsn: Lsn,
    pub row: Arc<T>,
}

/// A hot Object: its row, or the word that it is gone, which counts more than an older row in a cold file.
#[derive(Debug, Clone, PartialEq)]
pub struct HotObject {
    pub lsn: Lsn,
    pub place: ObjectPlace,
    pub row: Option<Arc<MediaObject>>,
    /// Other places, at which an Object of this id is gone: cold files may still have its row there.
    pub gone_from: Vec<(ObjectPlace, Lsn)>,
}

/// About what a tombstone or another small thing takes in memory.
const SMALL: usize = 96;

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
    pub(super) segments_updated: OrdMap<FlowId, UtcTime>,
    pub(super) profiles: OrdMap<ProfileId, Stored<Profile>>,
    pub(super) delete_requests: OrdMap<DeleteRequestId, Stored<DeleteRequest>>,
    pub(super) webhooks: OrdMap<WebhookId, Stored<Webhook>>,

    pub(super) segments: OrdMap<SegmentKey, Stored<FlowSegment>>,
    pub(super) objects: OrdMap<ObjectId, HotObject>,
    pub(super) references: OrdMap<ReferenceKey, Lsn>,
    /// Bytes of memory that the hot rows take which a flush would move, about.
    pub(super) hot_rows_bytes: usize,

    /// The cold files, the oldest first.
    pub(super) files: Arc<Vec<Arc<ColdFile>>>,
    /// Files that were replaced, and the entry that did so.
    pub(super) retired: OrdMap<String, u64>,
    /// Rows of this entry and of those before it are in cold files, as far as they were at rest.
    pub(super) flushed: u64,
    /// What is deleted although a cold file still has it.
    pub(super) tombstones: Tombstones,
    /// From the first start to the last end of a Flow's cold segments.
    pub(super) cold_extents: OrdMap<FlowId, TimeRange>,
    /// Objects that lost a reference, perhaps their last, and the entry in which they did so last.
    pub(super) suspects: OrdMap<ObjectId, u64>,
    /// Objects that nothing refers to any more, and storage that expired unregistered: never to be used again, their
    /// bytes to be deleted.
    pub(super) condemned: OrdSet<ObjectId>,

    // What follows from the tables above.
    pub(super) flows_by_source: OrdSet<(SourceId, FlowId)>,
    /// (member, collector)
    pub(super) collectors: OrdSet<(FlowId, FlowId)>,
    /// Storage handed out and not registered yet, by expiry.
    pub(super) allocations: OrdSet<(UtcTime, ObjectId)>,
    /// Objects with deleted instances whose bytes are about to be deleted.
    pub(super) with_condemned_instances: OrdSet<ObjectId>,
    /// Flow Delete Requests that are not done, by Flow.
    pub(super) unfinished_deletions: OrdMap<FlowId, Vec<Arc<DeleteRequest>>>,

    pub(super) small_tables: SmallTables,
}

/// A change that contradicts the state: of a log entry, damage; of a decision, a bug.
#[derive(Debug, Clone, thiserror::Error)]
#[error("change {index}: {reason}")]
pub struct ApplyError {
    pub index: u32,
    pub reason: String,
}

/// What cold files of a table there are. Rows that are deleted count until their files are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColdTableSize {
    pub table: &'static str,
    pub files: u64,
    pub rows: u64,
    pub bytes: u64,
}

/// A stretch of a Flow's segments, in timeline order or against it.
#[derive(Debug, Clone)]
pub struct SegmentScan {
    pub flow_id: FlowId,
    /// Segments that overlap it, wholly or in part.
    pub timerange: TimeRange,
    pub reverse_order: bool,
    /// Start key of the last segment that was seen already.
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
            segments_updated: OrdMap::new(),
            profiles: OrdMap::new(),
            delete_requests: OrdMap::new(),
            webhooks: OrdMap::new(),
            segments: OrdMap::new(),
            objects: OrdMap::new(),
            references: OrdMap::new(),
            hot_rows_bytes: 0,
            files: Arc::default(),
            retired: OrdMap::new(),
            flushed: 0,
            tombstones: Tombstones::default(),
            cold_extents: OrdMap::new(),
            suspects: OrdMap::new(),
            condemned: OrdSet::new(),
            flows_by_source: OrdSet::new(),
            collectors: OrdSet::new(),
            allocations: OrdSet::new(),
            with_condemned_instances: OrdSet::new(),
            unfinished_deletions: OrdMap::new(),
            small_tables: SmallTables::default(),
        }
    }

    /// Number of the last log entry that is part of this state.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// When that entry was committed.
    pub fn committed(&self) -> UtcTime {
        self.committed
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

    pub fn flow_count(&self) -> usize {
        self.flows.len()
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

    /// Whether an Object lost its last reference and its bytes go: it cannot be used again.
    pub fn is_condemned(&self, id: &ObjectId) -> bool {
        self.condemned.contains(id)
    }

    /// By id.
    pub fn condemned(&self) -> impl Iterator<Item = &ObjectId> {
        self.condemned.iter()
    }

    /// Objects of which it is to be found out whether anything refers to them, by id.
    pub fn suspects(&self) -> impl Iterator<Item = &ObjectId> {
        self.suspects.keys()
    }

    /// How many Objects are suspects or condemned.
    pub fn objects_in_doubt(&self) -> usize {
        self.suspects.len() + self.condemned.len()
    }

    /// The last entry whose rows are in cold files, as far as they were at rest.
    pub fn flushed(&self) -> u64 {
        self.flushed
    }

    pub fn is_suspect(&self, id: &ObjectId) -> bool {
        self.suspects.contains_key(id)
    }

    /// Whether it is a suspect, and lost no reference after entry `seq`.
    pub fn is_suspect_until(&self, id: &ObjectId, seq: u64) -> bool {
        self.suspects.get(id).is_some_and(|since| *since <= seq)
    }

    /// Objects with deleted instances whose bytes are still to go.
    pub fn with_condemned_instances(&self) -> impl Iterator<Item = &Arc<MediaObject>> {
        self.with_condemned_instances.iter().filter_map(|id| self.hot_object(id))
    }

    /// Storage that was handed out, never registered, and is due by now.
    pub fn expired_allocations(&self, now: UtcTime) -> impl Iterator<Item = &Arc<MediaObject>> {
        self.allocations
            .iter()
            .take_while(move |(expires, _)| *expires <= now)
            .filter_map(|(_, id)| self.hot_object(id))
    }

    /// When the next unregistered allocation is due.
    pub fn next_expiry(&self) -> Option<UtcTime> {
        self.allocations.get_min().map(|(expires, _)| *expires)
    }

    /// Bytes of memory that a flush would free, about. (Storage that waits to be registered is not among them: it stays.)
    pub fn hot_bytes(&self) -> usize {
        self.hot_rows_bytes + SMALL * self.tombstones.len()
    }

    /// What was written of the Object lately: its row, or that it is gone. `None` where nothing was.
    pub fn recent_object(&self, id: &ObjectId) -> Option<Option<Arc<MediaObject>>> {
        self.objects.get(id).map(|hot| hot.row.clone())
    }

    pub(super) fn hot_object(&self, id: &ObjectId) -> Option<&Arc<MediaObject>> {
        self.objects.get(id).and_then(|hot| hot.row.as_ref())
    }

    /// Files, rows and bytes of each table that has cold files, by name.
    pub fn cold_tables(&self) -> Vec<ColdTableSize> {
        let of = |table: ColdTable| {
            let empty = ColdTableSize { table: table.name(), files: 0, rows: 0, bytes: 0 };
            self.files_of(table).fold(empty, |size, file| ColdTableSize {
                files: size.files + 1,
                rows: size.rows + file.meta.rows,
                bytes: size.bytes + file.meta.bytes,
                ..size
            })
        };
        ColdTable::ALL.into_iter().map(of).collect()
    }

    pub(super) fn files_of(&self, table: ColdTable) -> impl DoubleEndedIterator<Item = &Arc<ColdFile>> {
        self.files.iter().filter(move |file| file.meta.table == table)
    }

    /// Whether something was registered there after entry `seq`, as far as hot rows tell.
    pub fn is_used_since(&self, id: &ObjectId, seq: u64) -> bool {
        let hash = object_hash(id);
        let rows = self.references.range(ReferenceKey::first_of(hash)..);
        rows.take_while(|(key, _)| key.object_hash == hash).any(|(_, lsn)| lsn.seq > seq)
    }

    /// Applies one change. On an error the state may be half changed: throw it away.
    pub(super) fn apply(&mut self, change: &Change, lsn: Lsn, now: UtcTime) -> Result<(), ApplyError> {
        self.small_tables = SmallTables::default();
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
            Change::DeleteObject(id, place) => self.delete_object(id, *place, lsn),
            Change::SuspectObject(id) => {
                self.suspects.insert(id.clone(), lsn.seq);
                Ok(())
            }
            Change::ClearObject(id) => self.suspects.remove(id).map(drop).ok_or("the Object to clear is no suspect"),
            Change::CondemnObject(id) => {
                self.suspects.remove(id);
                self.condemned.insert(id.clone());
                Ok(())
            }
            Change::PutSegment(segment) => {
                self.segments_updated.insert(segment.flow_id, now);
                self.put_segment(segment, lsn)
            }
            Change::DeleteSegment(key) => {
                self.segments_deleted(key.flow_id, now);
                self.delete_between(*key, key.start.saturating_add(1), lsn)
            }
            Change::DeleteSegmentsWithin { flow_id, timerange } => {
                self.segments_deleted(*flow_id, now);
                self.delete_within(*flow_id, *timerange, lsn)
            }
            Change::PutColdExtent { flow_id, timerange } => {
                self.put_cold_extent(*flow_id, *timerange);
                Ok(())
            }
            Change::PutFile(file) => self.put_file(file),
            Change::RetireFile(path) => self.retire_file(path, lsn.seq),
            Change::ForgetFile(path) => self.retired.remove(path).map(drop).ok_or("the file to forget was not retired"),
            Change::Flushed { as_of } => self.rows_flushed(*as_of),
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
        if !self.is_being_deleted(id) && !self.stored_extent(id).is_never() {
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

    fn forget_links(&mut self, flow: &Flow) {
        self.flows_by_source.remove(&(flow.source_id, flow.id));
        for item in &flow.flow_collection {
            self.collectors.remove(&(item.id, flow.id));
        }
    }

    pub(super) fn put_object(&mut self, object: &Arc<MediaObject>, lsn: Lsn) {
        self.insert_object(&object.id, HotObject::new(lsn, object.place(), Some(object.clone())));
        if object.condemned {
            self.condemned.insert(object.id.clone());
        } else if !object.is_registered()
            && let Some(allocation) = &object.allocation
        {
            self.allocations.insert((allocation.expires, object.id.clone()));
        }
        if !object.condemned_instances.is_empty() {
            self.with_condemned_instances.insert(object.id.clone());
        }
    }

    fn insert_object(&mut self, id: &ObjectId, mut hot: HotObject) {
        if let Some(old) = self.objects.get(id) {
            let gone_here = old.row.is_none().then_some((old.place, old.lsn));
            let gone = old.gone_from.iter().copied().chain(gone_here);
            hot.gone_from = gone.filter(|(place, _)| *place != hot.place).collect();
        }
        self.hot_rows_bytes += hot.weight();
        if let Some(old) = self.objects.insert(id.clone(), hot) {
            self.hot_rows_bytes = self.hot_rows_bytes.saturating_sub(old.weight());
            if let Some(row) = &old.row {
                self.forget_object_links(row);
            }
        }
    }

    fn forget_object_links(&mut self, object: &MediaObject) {
        if let Some(allocation) = &object.allocation {
            self.allocations.remove(&(allocation.expires, object.id.clone()));
        }
        self.with_condemned_instances.remove(&object.id);
    }

    /// Whether anything refers to it was decided before it was condemned.
    fn delete_object(&mut self, id: &ObjectId, place: ObjectPlace, lsn: Lsn) -> Result<(), &'static str> {
        if !self.objects.contains_key(id) && self.files_of(ColdTable::Objects).next().is_none() {
            return Err("the Object to delete is not there");
        }
        self.condemned.remove(id);
        self.suspects.remove(id);
        let place = self.objects.get(id).map_or(place, |hot| hot.place);
        self.put_gone(id, place, lsn);
        Ok(())
    }

    pub(super) fn put_gone(&mut self, id: &ObjectId, place: ObjectPlace, lsn: Lsn) {
        self.insert_object(id, HotObject::new(lsn, place, None));
    }

    pub(super) fn put_segment(&mut self, segment: &Arc<FlowSegment>, lsn: Lsn) -> Result<(), &'static str> {
        // From a checkpoint come segments of a Flow that went before them.
        if !self.flows.contains_key(&segment.flow_id) && !self.is_being_deleted(segment.flow_id) {
            return Err("a segment is put without its Flow");
        }
        // What cold files hold was looked at when it was decided.
        if self.overlaps_hot(segment.flow_id, segment.timerange) {
            return Err("a segment overlaps another of its Flow");
        }
        let mut segment = segment.clone();
        match self.objects.get(&segment.object_id).map(|hot| hot.row.as_deref()) {
            Some(Some(object)) if object.kind == Some(ObjectKind::Media) => {
                // Entries of before the columns came have every Object beside them.
                if segment.init_object != object.init_object {
                    Arc::make_mut(&mut segment).init_object.clone_from(&object.init_object);
                }
                let place = object.timerange.map(|_| object.place());
                if segment.object_place.is_none() && place.is_some() && place != segment.likely_place() {
                    Arc::make_mut(&mut segment).object_place = place;
                }
            }
            None if self.files_of(ColdTable::Objects).next().is_some() => {}
            _ => return Err("a segment refers to an Object that is not registered as media"),
        }
        // Its bytes may be gone already.
        if self.is_condemned(&segment.object_id) {
            return Err("a segment refers to an Object that is condemned");
        }
        self.hot_rows_bytes += change::segment_weight(&segment);
        for reference in references_of(&segment) {
            self.references.insert(reference, lsn);
        }
        self.segments.insert(SegmentKey::of(&segment), Stored { lsn, row: segment });
        Ok(())
    }

    fn overlaps_hot(&self, flow_id: FlowId, timerange: TimeRange) -> bool {
        let key = |start| SegmentKey { flow_id, start };
        // Of segments that do not overlap each other, the last that starts before its end is the one that could.
        let before_end = self.segments.range(key(i128::MIN)..key(timerange.end_key())).next_back();
        before_end.is_some_and(|(_, stored)| stored.row.timerange.overlaps(&timerange))
    }

    fn delete_within(&mut self, flow_id: FlowId, timerange: TimeRange, lsn: Lsn) -> Result<(), &'static str> {
        // It has no ends, and would be read from the log as eternity.
        if timerange.is_never() {
            return Err("segments are deleted within no time at all");
        }
        self.delete_between(SegmentKey { flow_id, start: timerange.start_key() }, timerange.end_key(), lsn)
    }

    /// Deletes the Flow's segments that start at `from` or later and before `to`. None of them reaches beyond `to`: that
    /// is for who decides it to see to.
    fn delete_between(&mut self, from: SegmentKey, to: i128, lsn: Lsn) -> Result<(), &'static str> {
        let end = SegmentKey { start: to, ..from };
        let gone: Vec<(SegmentKey, Arc<FlowSegment>)> =
            self.segments.range(from..end).map(|(key, stored)| (*key, stored.row.clone())).collect();
        for (key, segment) in gone {
            self.segments.remove(&key);
            self.hot_rows_bytes = self.hot_rows_bytes.saturating_sub(change::segment_weight(&segment));
            for reference in references_of(&segment) {
                self.references.remove(&reference);
            }
            // For those of cold segments, who decides it has to say so.
            self.suspects.insert(segment.object_id.clone(), lsn.seq);
            self.suspects.extend(segment.init_object.clone().map(|init| (init, lsn.seq)));
        }
        // Cold files may have rows there, and so may one that is being written from a state before this.
        self.tombstones.add(from, to, lsn);
        Ok(())
    }

    pub(super) fn put_cold_extent(&mut self, flow_id: FlowId, timerange: TimeRange) {
        if timerange.is_never() {
            self.cold_extents.remove(&flow_id);
        } else {
            self.cold_extents.insert(flow_id, timerange);
        }
    }

    pub(super) fn put_file(&mut self, file: &Arc<ColdFile>) -> Result<(), &'static str> {
        if self.files.iter().any(|known| known.meta.path == file.meta.path) {
            return Err("a cold file is there twice");
        }
        Arc::make_mut(&mut self.files).push(file.clone());
        Ok(())
    }

    fn retire_file(&mut self, path: &str, seq: u64) -> Result<(), &'static str> {
        let before = self.files.len();
        Arc::make_mut(&mut self.files).retain(|file| file.meta.path != path);
        if self.files.len() == before {
            return Err("the cold file to retire is not there");
        }
        self.retired.insert(path.to_owned(), seq);
        self.drop_tombstones();
        Ok(())
    }

    /// Rows move from here to the cold files that the same entry has put.
    fn rows_flushed(&mut self, as_of: u64) -> Result<(), &'static str> {
        if as_of < self.flushed || as_of > self.seq {
            return Err("rows are flushed that were flushed before, or are not there yet");
        }
        self.flushed = as_of;
        let (mut segments, mut gone) = (OrdMap::new(), Vec::new());
        for (key, stored) in &self.segments {
            if stored.lsn.seq > as_of {
                segments.insert(*key, stored.clone());
            } else {
                gone.push((key.flow_id, stored.row.timerange));
            }
        }
        self.segments = segments;
        for of_flow in gone.chunk_by(|(one, _), (next, _)| one == next) {
            if let (Some((flow_id, first)), Some((_, last))) = (of_flow.first(), of_flow.last()) {
                let cold = self.cold_extents.get(flow_id).copied().unwrap_or(TimeRange::NEVER);
                self.cold_extents.insert(*flow_id, cold.hull(&first.hull(last)));
            }
        }
        self.references = self.references.iter().filter(|(_, lsn)| lsn.seq > as_of).map(|(k, v)| (*k, *v)).collect();
        let stays = |hot: &HotObject| hot.lsn.seq > as_of || !hot.is_at_rest();
        let stay = self.objects.iter().filter(|(_, hot)| stays(hot));
        self.objects = stay.map(|(id, hot)| (id.clone(), hot.without_flushed(as_of))).collect();
        self.drop_tombstones();
        let segments: usize = self.segments.values().map(|stored| change::segment_weight(&stored.row)).sum();
        let objects: usize = self.objects.values().map(HotObject::weight).sum();
        self.hot_rows_bytes = segments + objects;
        Ok(())
    }

    /// Those that hide nothing: no file holds rows that are older, and none can come that does.
    fn drop_tombstones(&mut self) {
        let (files, flushed) = (self.files.clone(), self.flushed);
        self.tombstones
            .retain(|from, to, lsn| lsn.seq > flushed || files.iter().any(|file| file.may_have_hidden(from, to, lsn)));
    }

    pub(super) fn hot_extent(&self, flow_id: FlowId) -> TimeRange {
        let key = |start| SegmentKey { flow_id, start };
        let mut segments = self.segments.range(key(i128::MIN)..=key(i128::MAX)).map(|(_, stored)| stored.row.timerange);
        match (segments.next(), segments.next_back()) {
            (Some(first), Some(last)) => first.hull(&last),
            (Some(only), None) => only,
            _ => TimeRange::NEVER,
        }
    }

    pub(super) fn cold_extent(&self, flow_id: FlowId) -> TimeRange {
        self.cold_extents.get(&flow_id).copied().unwrap_or(TimeRange::NEVER)
    }

    /// From the first start to the last end of all segments, those included that are being deleted.
    pub(super) fn stored_extent(&self, flow_id: FlowId) -> TimeRange {
        self.hot_extent(flow_id).hull(&self.cold_extent(flow_id))
    }
}

impl HotObject {
    fn new(lsn: Lsn, place: ObjectPlace, row: Option<Arc<MediaObject>>) -> Self {
        Self { lsn, place, row, gone_from: Vec::new() }
    }

    /// Bytes of memory that a flush would free, about.
    fn weight(&self) -> usize {
        let row = self.row.as_ref().map_or(SMALL, |object| change::object_weight(object));
        SMALL * self.gone_from.len() + if self.is_at_rest() { row } else { 0 }
    }

    /// As it is when cold files say what there is to say of that entry and those before it.
    fn without_flushed(&self, as_of: u64) -> Self {
        let gone_from = self.gone_from.iter().copied().filter(|(_, lsn)| lsn.seq > as_of).collect();
        Self { gone_from, ..self.clone() }
    }

    /// Places at which an Object of its id is gone, the last one last.
    pub fn gone(&self) -> impl Iterator<Item = (ObjectPlace, Lsn)> {
        let here = self.row.is_none().then_some((self.place, self.lsn));
        self.gone_from.iter().copied().chain(here)
    }

    /// Whether it can go to a cold file: nothing is about to happen to it by itself.
    pub fn is_at_rest(&self) -> bool {
        self.row
            .as_ref()
            .is_none_or(|object| object.is_registered() && !object.condemned && object.condemned_instances.is_empty())
    }
}

/// Rows of `object_references` that a segment makes.
pub(super) fn references_of(segment: &FlowSegment) -> impl Iterator<Item = ReferenceKey> {
    let objects = std::iter::once(&segment.object_id).chain(&segment.init_object);
    let key = SegmentKey::of(segment);
    objects.map(move |id| ReferenceKey { object_hash: object_hash(id), segment: key })
}
