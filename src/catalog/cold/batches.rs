//! Rows from values, in the tables' schemas, without serde: a flush makes many at once.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Int32Builder, Int64Array, Int64Builder, ListArray, NullBufferBuilder, RecordBatch,
    StringBuilder, StructArray, TimestampMicrosecondBuilder,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

use super::{ColdError, ColdTable};
use crate::catalog::change::{Lsn, ReferenceKey};
use crate::catalog::rows::times;
use crate::domain::{
    Bound, CondemnedInstance, FlowSegment, Instance, MediaObject, ObjectId, ObjectKind, ObjectPlace, TimeRange,
    Timestamp, UtcTime,
};

/// That a segment needs an Object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference {
    pub key: ReferenceKey,
    /// Of the segment.
    pub lsn: Lsn,
}

/// What a row of `objects` says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ObjectEntry<'a> {
    Is(&'a MediaObject),
    Gone(&'a ObjectId, ObjectPlace),
}

impl<'a> ObjectEntry<'a> {
    pub fn id(self) -> &'a ObjectId {
        match self {
            Self::Is(object) => &object.id,
            Self::Gone(id, _) => id,
        }
    }
}

pub fn segments_batch(rows: &[(Lsn, &FlowSegment)]) -> Result<RecordBatch, ColdError> {
    let (mut start, mut end) = (Bounds::new(rows.len()), Bounds::new(rows.len()));
    let (mut ts_offset, mut last_duration) = (Times::new(rows.len()), Times::new(rows.len()));
    let mut flow_ids = StringBuilder::with_capacity(rows.len(), rows.len() * 36);
    let mut object_ids = StringBuilder::with_capacity(rows.len(), rows.len() * 36);
    let (mut init_objects, mut object_flows) = (StringBuilder::new(), StringBuilder::new());
    let mut object_starts = Bounds::new(rows.len());
    let (mut sample_offsets, mut sample_counts) = (Int64Builder::new(), Int64Builder::new());
    let mut registered = TimestampMicrosecondBuilder::with_capacity(rows.len());
    for (_, segment) in rows {
        append_display(&mut flow_ids, segment.flow_id);
        start.append(segment.timerange.start());
        end.append(segment.timerange.end());
        object_ids.append_value(segment.object_id.as_str());
        ts_offset.append(Some(segment.ts_offset));
        last_duration.append(segment.last_duration);
        sample_offsets.append_option(segment.sample_offset);
        sample_counts.append_option(segment.sample_count);
        init_objects.append_option(segment.init_object.as_ref().map(ObjectId::as_str));
        match segment.object_place {
            Some(place) => append_display(&mut object_flows, place.flow_id),
            None => object_flows.append_null(),
        }
        object_starts.append(segment.object_place.and_then(|place| start_of(place.start)));
        registered.append_option(segment.registered.map(times::micros));
    }
    let mut columns: Vec<ArrayRef> = vec![Arc::new(flow_ids.finish())];
    columns.extend(start.finish());
    columns.extend(end.finish());
    columns.push(Arc::new(object_ids.finish()));
    columns.extend(ts_offset.finish());
    columns.extend(last_duration.finish());
    columns.push(Arc::new(sample_offsets.finish()));
    columns.push(Arc::new(sample_counts.finish()));
    columns.push(Arc::new(init_objects.finish()));
    columns.push(Arc::new(object_flows.finish()));
    columns.extend(object_starts.finish());
    columns.push(Arc::new(registered.finish().with_timezone("UTC")));
    columns.extend(lsn_columns(rows.iter().map(|(lsn, _)| *lsn)));
    batch(ColdTable::FlowSegments, columns)
}

pub fn objects_batch(rows: &[(Lsn, ObjectEntry<'_>)]) -> Result<RecordBatch, ColdError> {
    let (mut start, mut end) = (Bounds::new(rows.len()), Bounds::new(rows.len()));
    let mut ids = StringBuilder::with_capacity(rows.len(), rows.len() * 36);
    let mut first_flows = StringBuilder::with_capacity(rows.len(), rows.len() * 36);
    let mut texts = [(); 3].map(|()| StringBuilder::new());
    let (mut key_frame_counts, mut sizes) = (Int64Builder::new(), Int64Builder::new());
    let (mut expires, mut created) = (TimestampMicrosecondBuilder::new(), TimestampMicrosecondBuilder::new());
    let (mut condemned, mut deleted) = (BooleanBuilder::new(), BooleanBuilder::new());
    let (mut instances, mut condemned_instances) = (Places::default(), Places::default());
    for (_, entry) in rows {
        let [kinds, init_objects, content_types] = &mut texts;
        match entry {
            ObjectEntry::Is(object) => {
                ids.append_value(object.id.as_str());
                kinds.append_option(object.kind.map(|kind| match kind {
                    ObjectKind::Media => "media",
                    ObjectKind::Init => "init",
                }));
                append_display(&mut first_flows, object.first_flow);
                start.append(object.timerange.and_then(|range| range.start()));
                end.append(object.timerange.and_then(|range| range.end()));
                key_frame_counts.append_option(object.key_frame_count);
                init_objects.append_option(object.init_object.as_ref().map(ObjectId::as_str));
                match &object.allocation {
                    Some(allocation) => append_display(content_types, &allocation.content_type),
                    None => content_types.append_null(),
                }
                expires.append_option(object.allocation.as_ref().map(|allocation| times::micros(allocation.expires)));
                let own_key = MediaObject::own_key(&object.id, object.created);
                object.instances.iter().for_each(|instance| instances.append(instance, &own_key));
                instances.end_row(true);
                condemned.append_value(object.condemned);
                created.append_value(times::micros(object.created));
                object.condemned_instances.iter().for_each(|instance| condemned_instances.append_condemned(instance));
                condemned_instances.end_row(!object.condemned_instances.is_empty());
                deleted.append_null();
                sizes.append_option(object.size_bytes);
            }
            // Columns that cannot be null say nothing.
            ObjectEntry::Gone(id, place) => {
                ids.append_value(id.as_str());
                kinds.append_null();
                append_display(&mut first_flows, place.flow_id);
                start.append(start_of(place.start));
                end.append(None);
                key_frame_counts.append_null();
                init_objects.append_null();
                content_types.append_null();
                expires.append_null();
                instances.end_row(true);
                condemned.append_value(false);
                created.append_value(times::micros(UtcTime::UNIX_EPOCH));
                condemned_instances.end_row(false);
                deleted.append_value(true);
                sizes.append_null();
            }
        }
    }
    let fields = ColdTable::Objects.schema().fields();
    let type_of = |name: &str| fields.find(name).map(|(_, field)| field.data_type());
    let lists = instances.finish(type_of("instances"), &["storage_id", "key", "url", "label"]);
    let condemned_lists = condemned_instances.finish(type_of("condemned_instances"), &["storage_id", "key"]);
    let [mut kinds, mut init_objects, mut content_types] = texts;
    let mut columns: Vec<ArrayRef> = vec![Arc::new(ids.finish()), Arc::new(kinds.finish())];
    columns.push(Arc::new(first_flows.finish()));
    columns.extend(start.finish());
    columns.extend(end.finish());
    columns.push(Arc::new(key_frame_counts.finish()));
    columns.push(Arc::new(init_objects.finish()));
    columns.push(Arc::new(content_types.finish()));
    columns.push(Arc::new(expires.finish().with_timezone("UTC")));
    columns.push(lists.map_err(|error| unfit(ColdTable::Objects, error))?);
    columns.push(Arc::new(condemned.finish()));
    columns.push(Arc::new(created.finish().with_timezone("UTC")));
    columns.push(condemned_lists.map_err(|error| unfit(ColdTable::Objects, error))?);
    columns.push(Arc::new(deleted.finish()));
    columns.push(Arc::new(sizes.finish()));
    columns.extend(lsn_columns(rows.iter().map(|(lsn, _)| *lsn)));
    batch(ColdTable::Objects, columns)
}

pub fn references_batch(rows: &[Reference]) -> Result<RecordBatch, ColdError> {
    let mut flow_ids = StringBuilder::with_capacity(rows.len(), rows.len() * 36);
    let mut start = Bounds::new(rows.len());
    for row in rows {
        append_display(&mut flow_ids, row.key.segment.flow_id);
        start.append(start_of(row.key.segment.start));
    }
    let hashes = Int64Array::from_iter_values(rows.iter().map(|row| row.key.object_hash));
    let mut columns: Vec<ArrayRef> = vec![Arc::new(hashes), Arc::new(flow_ids.finish())];
    columns.extend(start.finish());
    columns.extend(lsn_columns(rows.iter().map(|row| row.lsn)));
    batch(ColdTable::References, columns)
}

fn start_of(key: i128) -> Option<Bound> {
    TimeRange::from_keys(key, i128::MAX).start()
}

fn batch(table: ColdTable, columns: Vec<ArrayRef>) -> Result<RecordBatch, ColdError> {
    RecordBatch::try_new(table.schema().clone(), columns).map_err(|error| unfit(table, error))
}

fn unfit(table: ColdTable, error: ArrowError) -> ColdError {
    ColdError::new(&format!("rows of {}", table.name()), error)
}

fn append_display(builder: &mut StringBuilder, value: impl std::fmt::Display) {
    // Writing into memory does not fail.
    let _ = write!(builder, "{value}");
    builder.append_value("");
}

fn lsn_columns(lsns: impl Iterator<Item = Lsn> + Clone) -> [ArrayRef; 2] {
    let seq = Int64Array::from_iter_values(lsns.clone().map(|lsn| i64::try_from(lsn.seq).unwrap_or(i64::MAX)));
    let index = Int64Array::from_iter_values(lsns.map(|lsn| i64::from(lsn.index)));
    [Arc::new(seq), Arc::new(index)]
}

struct Times {
    seconds: Int64Builder,
    nanoseconds: Int32Builder,
}

impl Times {
    fn new(rows: usize) -> Self {
        Self { seconds: Int64Builder::with_capacity(rows), nanoseconds: Int32Builder::with_capacity(rows) }
    }

    fn append(&mut self, time: Option<Timestamp>) {
        let parts = time.map(Timestamp::to_parts);
        self.seconds.append_option(parts.map(|(seconds, _)| seconds));
        self.nanoseconds.append_option(parts.map(|(_, nanoseconds)| nanoseconds));
    }

    fn finish(mut self) -> [ArrayRef; 2] {
        [Arc::new(self.seconds.finish()), Arc::new(self.nanoseconds.finish())]
    }
}

struct Bounds {
    at: Times,
    inclusive: BooleanBuilder,
}

impl Bounds {
    fn new(rows: usize) -> Self {
        Self { at: Times::new(rows), inclusive: BooleanBuilder::with_capacity(rows) }
    }

    fn append(&mut self, bound: Option<Bound>) {
        self.at.append(bound.map(|bound| bound.at));
        self.inclusive.append_option(bound.map(|bound| bound.inclusive));
    }

    fn finish(mut self) -> [ArrayRef; 3] {
        let [seconds, nanoseconds] = self.at.finish();
        [seconds, nanoseconds, Arc::new(self.inclusive.finish())]
    }
}

/// Lists of places of bytes: `instances` and `condemned_instances`.
#[derive(Default)]
struct Places {
    storage_ids: StringBuilder,
    keys: StringBuilder,
    urls: StringBuilder,
    labels: StringBuilder,
    in_row: usize,
    lengths: Vec<usize>,
    present: Vec<bool>,
}

impl Places {
    /// The Object's own key ([`MediaObject::own_key`]), which follows from other columns, is left out.
    fn append(&mut self, instance: &Instance, own_key: &str) {
        match instance {
            Instance::Controlled { storage_id, key } => {
                append_display(&mut self.storage_ids, storage_id);
                self.keys.append_option(Some(key).filter(|key| *key != own_key));
                self.urls.append_null();
                self.labels.append_null();
            }
            Instance::Uncontrolled { url, label } => {
                self.storage_ids.append_null();
                self.keys.append_null();
                self.urls.append_value(url);
                self.labels.append_option(label.as_deref());
            }
        }
        self.in_row += 1;
    }

    fn append_condemned(&mut self, instance: &CondemnedInstance) {
        append_display(&mut self.storage_ids, instance.storage_id);
        self.keys.append_value(&instance.key);
        self.in_row += 1;
    }

    fn end_row(&mut self, present: bool) {
        self.lengths.push(std::mem::take(&mut self.in_row));
        self.present.push(present);
    }

    fn finish(mut self, list: Option<&DataType>, parts: &[&str]) -> Result<ArrayRef, ArrowError> {
        let mismatch = || ArrowError::SchemaError("places of bytes are lists of structs".into());
        let Some(DataType::List(element)) = list else { return Err(mismatch()) };
        let DataType::Struct(fields) = element.data_type() else { return Err(mismatch()) };
        let columns: Vec<ArrayRef> = parts
            .iter()
            .map(|part| -> ArrayRef {
                match *part {
                    "storage_id" => Arc::new(self.storage_ids.finish()),
                    "key" => Arc::new(self.keys.finish()),
                    "url" => Arc::new(self.urls.finish()),
                    _ => Arc::new(self.labels.finish()),
                }
            })
            .collect();
        let mut nulls = NullBufferBuilder::new(self.present.len());
        self.present.iter().for_each(|present| nulls.append(*present));
        let values = StructArray::try_new(fields.clone(), columns, None)?;
        let offsets = OffsetBuffer::from_lengths(self.lengths);
        Ok(Arc::new(ListArray::try_new(element.clone(), offsets, Arc::new(values), nulls.finish())?))
    }
}
