//! The format of a log entry: a header that chains it to the entry before, and changes as Arrow record batches.
//!
//! ```text
//! header   magic "TAMSLOG1" · format u32 · catalogue uuid · seq u64 · entry id · writer id · committed at (us, i64)
//!          · hash of the entry before · payload length u64 · payload hash · header hash = hash of this entry
//! payload  sections: kind u8 · table name (u8 length) · u64 length · Arrow IPC stream with a column lsn_index
//! ```
//! Numbers are little-endian, ids 16 bytes, hashes SHA-256. Changes of one kind and table share a section; `lsn_index`
//! gives back their order. Spec: ADR 0001.

use std::io::Cursor;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::FieldRef;
use arrow::ipc::MetadataVersion;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use bytes::Bytes;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::change::{Change, SegmentKey};
use super::cold::ColdFile;
use super::rows::{
    self, DeleteRequestRow, EventRow, FileRow, FlowKeyRow, FlowRow, FlushedRow, GoneRow, IdRow, ObjectKeyRow,
    ObjectRow, PathRow, ProfileRow, RangeRow, RowError, SegmentKeyRow, SegmentRow, ServiceRow, SourceKeyRow, SourceRow,
    StoredFlow, WebhookRow,
};
use super::tables::Table;
use crate::domain::{
    DeleteRequest, DeleteRequestId, Event, FlowSegment, MediaObject, Profile, ServiceInfo, Source, UtcTime, Webhook,
    WebhookId,
};

pub type Hash = [u8; 32];

const MAGIC: &[u8; 8] = b"TAMSLOG1";
const FORMAT: u32 = 1;
pub const HEADER_BYTES: usize = 8 + 4 + 16 + 8 + 16 + 16 + 8 + 32 + 8 + 32 + 32;

const PUT: u8 = 1;
const DELETE: u8 = 2;
const DELETE_WITHIN: u8 = 3;
const SUSPECT: u8 = 4;
const CLEAR: u8 = 5;
const CONDEMN: u8 = 6;
const FLUSHED: u8 = 7;
/// Of a Flow's cold segments, or of a cold file's bytes.
const PUT_EXTENT: u8 = 8;
const FORGET: u8 = 9;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub catalogue: [u8; 16],
    pub seq: u64,
    /// Random: tells our own entry from a winner's in the same slot.
    pub entry_id: [u8; 16],
    pub writer: [u8; 16],
    pub committed: UtcTime,
    /// Of the entry before; zeros for the first.
    pub previous: Hash,
}

#[derive(Debug, Clone)]
pub struct Entry {
    pub header: Header,
    pub changes: Vec<Change>,
    /// Hash of the whole entry: what the next one chains to.
    pub hash: Hash,
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum EntryError {
    #[error("is shorter than a log entry can be, or longer than it says")]
    Length,
    #[error("does not begin as a log entry of tamslake does")]
    Magic,
    #[error("has format {0}, which this version cannot read: a newer tamslake wrote it")]
    Format(u32),
    #[error("is damaged: its {0} does not match its checksum")]
    Checksum(&'static str),
    #[error("cannot be understood: {0}")]
    Content(String),
}

impl From<RowError> for EntryError {
    fn from(error: RowError) -> Self {
        Self::Content(error.0)
    }
}

fn content(error: impl std::fmt::Display) -> EntryError {
    EntryError::Content(error.to_string())
}

/// The bytes of an entry, and its hash.
pub fn encode(header: &Header, changes: &[Change]) -> Result<(Bytes, Hash), EntryError> {
    let mut bytes = vec![0; HEADER_BYTES];
    Sections::sort(changes)?.write(&mut bytes)?;
    let mut head = Vec::with_capacity(HEADER_BYTES);
    head.extend(MAGIC);
    head.extend(FORMAT.to_le_bytes());
    head.extend(header.catalogue);
    head.extend(header.seq.to_le_bytes());
    head.extend(header.entry_id);
    head.extend(header.writer);
    head.extend(header.committed.timestamp_micros().to_le_bytes());
    head.extend(header.previous);
    let payload = bytes.get(HEADER_BYTES..).unwrap_or_default();
    head.extend((payload.len() as u64).to_le_bytes());
    head.extend(Sha256::digest(payload));
    let hash: Hash = Sha256::digest(&head).into();
    head.extend(hash);
    bytes.splice(..HEADER_BYTES, head);
    Ok((bytes.into(), hash))
}

/// Reads an entry and checks everything that its own bytes can prove; the chain is for the reader of the log.
pub fn decode(bytes: &[u8]) -> Result<Entry, EntryError> {
    let (head, payload) = bytes.split_at_checked(HEADER_BYTES).ok_or(EntryError::Length)?;
    let mut fields = Fields(head);
    if fields.take::<8>()? != *MAGIC {
        return Err(EntryError::Magic);
    }
    let format = u32::from_le_bytes(fields.take()?);
    if format != FORMAT {
        return Err(EntryError::Format(format));
    }
    let header = Header {
        catalogue: fields.take()?,
        seq: u64::from_le_bytes(fields.take()?),
        entry_id: fields.take()?,
        writer: fields.take()?,
        committed: {
            let micros = i64::from_le_bytes(fields.take()?);
            UtcTime::from_timestamp_micros(micros).ok_or(EntryError::Checksum("header"))?
        },
        previous: fields.take()?,
    };
    let length = u64::from_le_bytes(fields.take()?);
    let payload_hash: Hash = fields.take()?;
    let hash: Hash = fields.take()?;
    if Sha256::digest(head.get(..HEADER_BYTES - 32).unwrap_or_default())[..] != hash {
        return Err(EntryError::Checksum("header"));
    }
    if payload.len() as u64 != length {
        return Err(EntryError::Length);
    }
    if Sha256::digest(payload)[..] != payload_hash {
        return Err(EntryError::Checksum("payload"));
    }
    Ok(Entry { header, changes: read_sections(payload)?, hash })
}

/// Rows of an entry by kind and table, with their place in it.
#[derive(Default)]
struct Sections {
    services: Indexed<ServiceRow>,
    sources: Indexed<SourceRow>,
    flows: Indexed<FlowRow>,
    objects: Indexed<ObjectRow>,
    segments: Indexed<SegmentRow>,
    source_keys: Indexed<SourceKeyRow>,
    flow_keys: Indexed<FlowKeyRow>,
    gone_objects: Indexed<GoneRow>,
    segment_keys: Indexed<SegmentKeyRow>,
    ranges: Indexed<RangeRow>,
    profiles: Indexed<ProfileRow>,
    delete_requests: Indexed<DeleteRequestRow>,
    delete_request_keys: Indexed<IdRow<DeleteRequestId>>,
    webhooks: Indexed<WebhookRow>,
    webhook_keys: Indexed<IdRow<WebhookId>>,
    events: Indexed<EventRow>,
    suspects: Indexed<ObjectKeyRow>,
    cleared: Indexed<ObjectKeyRow>,
    condemned: Indexed<ObjectKeyRow>,
    extents: Indexed<RangeRow>,
    files: Indexed<FileRow>,
    retired: Indexed<PathRow>,
    forgotten: Indexed<PathRow>,
    flushed: Indexed<FlushedRow>,
}

struct Indexed<R> {
    rows: Vec<R>,
    index: Vec<u32>,
}

impl<R> Default for Indexed<R> {
    fn default() -> Self {
        Self { rows: Vec::new(), index: Vec::new() }
    }
}

impl<R: Serialize> Indexed<R> {
    fn push(&mut self, index: u32, row: R) {
        self.rows.push(row);
        self.index.push(index);
    }

    fn write(self, out: &mut Vec<u8>, kind: u8, table: Table, fields: &[FieldRef]) -> Result<(), EntryError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let batch = rows::to_batch(fields, &self.rows, self.index)?;
        let name = table.name().as_bytes();
        out.push(kind);
        out.push(u8::try_from(name.len()).map_err(content)?);
        out.extend(name);
        let length_at = out.len();
        out.extend([0; 8]);
        // 8 bytes are what Arrow asks for; its default of 64 is for memory, and pads small commits to twice their size.
        let options = IpcWriteOptions::try_new(8, false, MetadataVersion::V5).map_err(content)?;
        let mut writer = StreamWriter::try_new_with_options(&mut *out, &batch.schema(), options).map_err(content)?;
        writer.write(&batch).map_err(content)?;
        writer.finish().map_err(content)?;
        drop(writer);
        let length = (out.len() - length_at - 8) as u64;
        out.splice(length_at..length_at + 8, length.to_le_bytes());
        Ok(())
    }
}

impl Sections {
    fn sort(changes: &[Change]) -> Result<Self, EntryError> {
        let mut sections = Self::default();
        for (index, change) in changes.iter().enumerate() {
            let index = u32::try_from(index).map_err(content)?;
            match change {
                Change::PutService(service) => sections.services.push(index, (&**service).into()),
                Change::PutProfile(profile) => sections.profiles.push(index, ProfileRow::try_from(&**profile)?),
                Change::PutDeleteRequest(request) => sections.delete_requests.push(index, (&**request).into()),
                Change::DropDeleteRequest(id) => sections.delete_request_keys.push(index, IdRow { id: *id }),
                Change::PutWebhook(webhook) => sections.webhooks.push(index, (&**webhook).into()),
                Change::DeleteWebhook(id) => sections.webhook_keys.push(index, IdRow { id: *id }),
                Change::AppendEvent(event) => sections.events.push(index, (&**event).into()),
                Change::PutSource(source) => sections.sources.push(index, (&**source).into()),
                Change::PutFlow(flow) => {
                    let row = StoredFlow { flow: flow.clone(), segments_updated: None };
                    sections.flows.push(index, FlowRow::try_from(&row)?);
                }
                Change::PutObject(object) => sections.objects.push(index, (&**object).into()),
                Change::PutSegment(segment) => sections.segments.push(index, (&**segment).into()),
                Change::DeleteSource(id) => sections.source_keys.push(index, IdRow { id: *id }),
                Change::DeleteFlow(id) => sections.flow_keys.push(index, IdRow { id: *id }),
                Change::DeleteObject(id, place) => sections.gone_objects.push(index, GoneRow::new(id, *place)),
                Change::DeleteSegment(key) => sections.segment_keys.push(index, (*key).into()),
                Change::DeleteSegmentsWithin { flow_id, timerange } => {
                    sections.ranges.push(index, (*flow_id, *timerange).into());
                }
                Change::SuspectObject(id) => sections.suspects.push(index, IdRow { id: id.clone() }),
                Change::ClearObject(id) => sections.cleared.push(index, IdRow { id: id.clone() }),
                Change::CondemnObject(id) => sections.condemned.push(index, IdRow { id: id.clone() }),
                Change::PutColdExtent { flow_id, timerange } => {
                    sections.extents.push(index, RangeRow::of_extent(*flow_id, *timerange));
                }
                Change::PutFile(file) => sections.files.push(index, (&**file).into()),
                Change::RetireFile(path) => sections.retired.push(index, PathRow { path: path.clone() }),
                Change::ForgetFile(path) => sections.forgotten.push(index, PathRow { path: path.clone() }),
                Change::Flushed { as_of } => sections.flushed.push(index, FlushedRow::try_from(*as_of)?),
            }
        }
        Ok(sections)
    }

    fn write(self, out: &mut Vec<u8>) -> Result<(), EntryError> {
        fn fields(table: Table) -> &'static [FieldRef] {
            table.log_fields()
        }
        self.services.write(out, PUT, Table::Service, fields(Table::Service))?;
        self.sources.write(out, PUT, Table::Sources, fields(Table::Sources))?;
        self.flows.write(out, PUT, Table::Flows, fields(Table::Flows))?;
        self.objects.write(out, PUT, Table::Objects, fields(Table::Objects))?;
        self.segments.write(out, PUT, Table::FlowSegments, fields(Table::FlowSegments))?;
        self.source_keys.write(out, DELETE, Table::Sources, Table::Sources.key_fields())?;
        self.flow_keys.write(out, DELETE, Table::Flows, Table::Flows.key_fields())?;
        self.gone_objects.write(out, DELETE, Table::Objects, &rows::gone_fields())?;
        self.segment_keys.write(out, DELETE, Table::FlowSegments, Table::FlowSegments.key_fields())?;
        self.ranges.write(out, DELETE_WITHIN, Table::FlowSegments, &rows::range_fields())?;
        self.profiles.write(out, PUT, Table::Profiles, fields(Table::Profiles))?;
        self.delete_requests.write(out, PUT, Table::FlowDeleteRequests, fields(Table::FlowDeleteRequests))?;
        let key = Table::FlowDeleteRequests.key_fields();
        self.delete_request_keys.write(out, DELETE, Table::FlowDeleteRequests, key)?;
        self.webhooks.write(out, PUT, Table::Webhooks, fields(Table::Webhooks))?;
        self.webhook_keys.write(out, DELETE, Table::Webhooks, Table::Webhooks.key_fields())?;
        self.events.write(out, PUT, Table::Events, fields(Table::Events))?;
        let object_key = Table::Objects.key_fields();
        self.suspects.write(out, SUSPECT, Table::Objects, object_key)?;
        self.cleared.write(out, CLEAR, Table::Objects, object_key)?;
        self.condemned.write(out, CONDEMN, Table::Objects, object_key)?;
        self.extents.write(out, PUT_EXTENT, Table::FlowSegments, &rows::range_fields())?;
        self.files.write(out, PUT, Table::Files, fields(Table::Files))?;
        self.retired.write(out, DELETE, Table::Files, Table::Files.key_fields())?;
        self.forgotten.write(out, FORGET, Table::Files, Table::Files.key_fields())?;
        self.flushed.write(out, FLUSHED, Table::Files, &rows::flushed_fields())
    }
}

fn read_sections(payload: &[u8]) -> Result<Vec<Change>, EntryError> {
    let mut fields = Fields(payload);
    let mut changes: Vec<(u32, Change)> = Vec::new();
    while !fields.0.is_empty() {
        let [kind, name_length] = fields.take()?;
        let name = std::str::from_utf8(fields.slice(name_length.into())?).map_err(content)?;
        let table = Table::from_name(name).ok_or_else(|| content(format_args!("unknown table {name:?}")))?;
        let length = usize::try_from(u64::from_le_bytes(fields.take()?)).map_err(content)?;
        let stream = Cursor::new(fields.slice(length)?);
        for batch in StreamReader::try_new(stream, None).map_err(content)? {
            let batch = batch.map_err(content)?;
            let read = read_section(kind, table, &batch)?;
            changes.extend(rows::index_of(&batch)?.into_iter().zip(read));
        }
    }
    changes.sort_by_key(|(index, _)| *index);
    if changes.iter().enumerate().any(|(place, (index, _))| u32::try_from(place) != Ok(*index)) {
        return Err(content("its changes are not numbered from 0 without gaps"));
    }
    Ok(changes.into_iter().map(|(_, change)| change).collect())
}

fn read_section(kind: u8, table: Table, batch: &RecordBatch) -> Result<Vec<Change>, EntryError> {
    /// Rows to values to changes.
    fn read<R, V, C>(batch: &RecordBatch, change: impl Fn(V) -> C) -> Result<Vec<C>, EntryError>
    where
        R: serde::de::DeserializeOwned,
        V: TryFrom<R>,
        V::Error: std::fmt::Display,
    {
        let rows: Vec<R> = rows::from_batch(batch)?;
        rows.into_iter().map(|row| V::try_from(row).map(&change).map_err(content)).collect()
    }
    match (kind, table) {
        (PUT, Table::Service) => read::<ServiceRow, ServiceInfo, _>(batch, |v| Change::PutService(Arc::new(v))),
        (PUT, Table::Sources) => read::<SourceRow, Source, _>(batch, |v| Change::PutSource(Arc::new(v))),
        (PUT, Table::Flows) => read::<FlowRow, StoredFlow, _>(batch, |v| Change::PutFlow(v.flow)),
        (PUT, Table::Objects) => read::<ObjectRow, MediaObject, _>(batch, |v| Change::PutObject(Arc::new(v))),
        (PUT, Table::FlowSegments) => read::<SegmentRow, FlowSegment, _>(batch, |v| Change::PutSegment(Arc::new(v))),
        (PUT, Table::Profiles) => read::<ProfileRow, Profile, _>(batch, |v| Change::PutProfile(Arc::new(v))),
        (PUT, Table::FlowDeleteRequests) => {
            read::<DeleteRequestRow, DeleteRequest, _>(batch, |v| Change::PutDeleteRequest(Arc::new(v)))
        }
        (PUT, Table::Webhooks) => read::<WebhookRow, Webhook, _>(batch, |v| Change::PutWebhook(Arc::new(v))),
        (PUT, Table::Events) => read::<EventRow, Event, _>(batch, |v| Change::AppendEvent(Arc::new(v))),
        (DELETE, Table::FlowDeleteRequests) => {
            read::<IdRow<DeleteRequestId>, IdRow<DeleteRequestId>, _>(batch, |row| Change::DropDeleteRequest(row.id))
        }
        (DELETE, Table::Webhooks) => {
            read::<IdRow<WebhookId>, IdRow<WebhookId>, _>(batch, |row| Change::DeleteWebhook(row.id))
        }
        (DELETE, Table::Sources) => read::<SourceKeyRow, SourceKeyRow, _>(batch, |row| Change::DeleteSource(row.id)),
        (DELETE, Table::Flows) => read::<FlowKeyRow, FlowKeyRow, _>(batch, |row| Change::DeleteFlow(row.id)),
        (DELETE, Table::Objects) => read::<GoneRow, (_, _), _>(batch, |(id, place)| Change::DeleteObject(id, place)),
        (DELETE, Table::FlowSegments) => read::<SegmentKeyRow, SegmentKey, _>(batch, Change::DeleteSegment),
        (DELETE_WITHIN, Table::FlowSegments) => read::<RangeRow, (_, _), _>(batch, |(flow_id, timerange)| {
            Change::DeleteSegmentsWithin { flow_id, timerange }
        }),
        (SUSPECT, Table::Objects) => read::<ObjectKeyRow, ObjectKeyRow, _>(batch, |row| Change::SuspectObject(row.id)),
        (CLEAR, Table::Objects) => read::<ObjectKeyRow, ObjectKeyRow, _>(batch, |row| Change::ClearObject(row.id)),
        (CONDEMN, Table::Objects) => read::<ObjectKeyRow, ObjectKeyRow, _>(batch, |row| Change::CondemnObject(row.id)),
        (PUT_EXTENT, Table::FlowSegments) => read::<RangeRow, RangeRow, _>(batch, |row| row)?
            .into_iter()
            .map(|row| {
                let (flow_id, timerange) = row.extent().map_err(content)?;
                Ok(Change::PutColdExtent { flow_id, timerange })
            })
            .collect(),
        (PUT, Table::Files) => read::<FileRow, ColdFile, _>(batch, |file| Change::PutFile(Arc::new(file))),
        (DELETE, Table::Files) => read::<PathRow, PathRow, _>(batch, |row| Change::RetireFile(row.path)),
        (FORGET, Table::Files) => read::<PathRow, PathRow, _>(batch, |row| Change::ForgetFile(row.path)),
        (FLUSHED, Table::Files) => read::<FlushedRow, u64, _>(batch, |as_of| Change::Flushed { as_of }),
        (kind, table) => Err(content(format_args!("unknown kind of change {kind} in table {}", table.name()))),
    }
}

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn slice(&mut self, length: usize) -> Result<&'a [u8], EntryError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(EntryError::Length)?;
        self.0 = rest;
        Ok(taken)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], EntryError> {
        self.slice(N)?.try_into().map_err(|_| EntryError::Length)
    }
}
