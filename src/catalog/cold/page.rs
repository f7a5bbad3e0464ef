//! One page of rows, checked once and then asked by row number. Row numbers must be below [`Page::len`]; beyond it there
//! is nothing to say, and the answers say nothing.

use std::cmp::Ordering;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Int32Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray,
    TimestampMicrosecondArray,
};

use super::{ColdError, ColdTable, Reference};
use crate::catalog::change::{Lsn, ReferenceKey, SegmentKey, object_key, object_place_key};
use crate::catalog::rows::times;
use crate::domain::{
    Allocation, Bound, CondemnedInstance, FlowId, FlowSegment, Instance, MediaObject, ObjectId, ObjectKind,
    ObjectPlace, StorageId, TimeRange, UtcTime,
};

/// Decoded rows of one table, sorted by key, then LSN.
#[derive(Debug, Clone)]
pub struct Page {
    path: String,
    batch: RecordBatch,
    lsns: Vec<Lsn>,
    columns: Columns,
}

#[derive(Debug, Clone)]
enum Columns {
    Segments(Places, Box<SegmentColumns>),
    Objects(Vec<ObjectPlace>, StringArray, Box<ObjectColumns>),
    References(Int64Array, Places),
}

/// A column that old files or a projection may lack.
type Maybe<A> = Option<A>;

/// Flows and start keys of rows.
#[derive(Debug, Clone)]
struct Places {
    flows: Vec<FlowId>,
    starts: Vec<i128>,
}

#[derive(Debug, Clone)]
struct SegmentColumns {
    end: BoundColumns,
    object_id: Maybe<StringArray>,
    ts_offset: TimeColumns,
    last_duration: TimeColumns,
    sample_offset: Maybe<Int64Array>,
    sample_count: Maybe<Int64Array>,
    init_object: Maybe<StringArray>,
    object_flow: Maybe<StringArray>,
    object_start: BoundColumns,
    registered: Maybe<TimestampMicrosecondArray>,
}

#[derive(Debug, Clone)]
struct ObjectColumns {
    kind: Maybe<StringArray>,
    first_flow: Maybe<StringArray>,
    start: BoundColumns,
    end: BoundColumns,
    key_frame_count: Maybe<Int64Array>,
    init_object: Maybe<StringArray>,
    content_type: Maybe<StringArray>,
    expires: Maybe<TimestampMicrosecondArray>,
    instances: Instances,
    condemned: Maybe<BooleanArray>,
    created: Maybe<TimestampMicrosecondArray>,
    condemned_instances: Instances,
    deleted: Maybe<BooleanArray>,
    size_bytes: Maybe<Int64Array>,
}

#[derive(Debug, Clone)]
struct TimeColumns {
    seconds: Maybe<Int64Array>,
    nanoseconds: Maybe<Int32Array>,
}

#[derive(Debug, Clone)]
struct BoundColumns {
    at: TimeColumns,
    inclusive: Maybe<BooleanArray>,
}

#[derive(Debug, Clone)]
struct Instances {
    lists: Maybe<ListArray>,
    storage_id: Maybe<StringArray>,
    key: Maybe<StringArray>,
    url: Maybe<StringArray>,
    label: Maybe<StringArray>,
}

type Reason = String;

impl Page {
    /// Columns are found by name. Keys and LSNs must be there and are checked here; other columns when a row is asked for.
    pub fn new(table: ColdTable, batch: RecordBatch, path: &str) -> Result<Self, ColdError> {
        Self::read(table, batch, path).map_err(|reason| ColdError::new(path, reason))
    }

    fn read(table: ColdTable, batch: RecordBatch, path: &str) -> Result<Self, Reason> {
        let lsns = lsns(&batch)?;
        let columns = match table {
            ColdTable::FlowSegments => {
                Columns::Segments(Places::read(&batch)?, Box::new(SegmentColumns::read(&batch)?))
            }
            ColdTable::Objects => {
                let columns = Box::new(ObjectColumns::read(&batch)?);
                Columns::Objects(columns.places(batch.num_rows())?, whole(&batch, "id")?, columns)
            }
            ColdTable::References => Columns::References(whole(&batch, "object_hash")?, Places::read(&batch)?),
        };
        Ok(Self { path: path.to_owned(), batch, lsns, columns })
    }

    pub fn len(&self) -> usize {
        self.lsns.len()
    }

    pub fn batch(&self) -> &RecordBatch {
        &self.batch
    }

    pub fn lsn(&self, row: usize) -> Lsn {
        self.lsns.get(row).copied().unwrap_or_default()
    }

    pub fn key(&self, row: usize) -> Vec<u8> {
        let mut key = Vec::new();
        self.write_key(row, &mut key);
        key
    }

    /// Replaces what is in `key`.
    pub fn write_key(&self, row: usize, key: &mut Vec<u8>) {
        key.clear();
        self.with_key(row, |bytes| key.extend_from_slice(bytes));
    }

    pub fn compare_key(&self, row: usize, key: &[u8]) -> Ordering {
        match &self.columns {
            // The same without putting it together.
            Columns::Objects(places, ids, _) => {
                let place = object_place_key(places.get(row).copied().unwrap_or(ObjectPlace::OF_INIT_OBJECTS));
                let (key_place, key_id) = key.split_at(key.len().min(place.len()));
                place[..].cmp(key_place).then_with(|| text_at(ids, row).unwrap_or_default().as_bytes().cmp(key_id))
            }
            _ => self.with_key(row, |bytes| bytes.cmp(key)),
        }
    }

    /// The first row whose key is not below `key`; the number of rows if there is none.
    pub fn lower_bound(&self, key: &[u8]) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.compare_key(middle, key).is_lt() { low = middle + 1 } else { high = middle }
        }
        low
    }

    fn with_key<T>(&self, row: usize, then: impl FnOnce(&[u8]) -> T) -> T {
        match &self.columns {
            Columns::Segments(places, _) => {
                let (flow_id, start) = places.get(row);
                then(&SegmentKey { flow_id, start }.to_bytes())
            }
            Columns::Objects(places, ids, _) => {
                let place = places.get(row).copied().unwrap_or(ObjectPlace::OF_INIT_OBJECTS);
                then(&object_key(place, text_at(ids, row).unwrap_or_default()))
            }
            Columns::References(hashes, places) => then(&reference_key(hashes, places, row).to_bytes()),
        }
    }

    /// Where a segment is.
    pub fn segment_key(&self, row: usize) -> Result<SegmentKey, ColdError> {
        match &self.columns {
            Columns::Segments(places, _) if row < self.len() => {
                let (flow_id, start) = places.get(row);
                Ok(SegmentKey { flow_id, start })
            }
            _ => Err(self.error(row, "it is no segment")),
        }
    }

    pub fn segment(&self, row: usize) -> Result<FlowSegment, ColdError> {
        match &self.columns {
            Columns::Segments(places, columns) => columns.get(places, row).map_err(|reason| self.error(row, &reason)),
            _ => Err(self.error(row, "it is no segment")),
        }
    }

    /// Whether the row says that its Object is gone.
    pub fn is_deleted(&self, row: usize) -> bool {
        match &self.columns {
            Columns::Objects(_, _, columns) => flag(columns.deleted.as_ref(), row) == Some(true),
            _ => false,
        }
    }

    /// An error for a row that says that its Object is gone.
    pub fn object(&self, row: usize) -> Result<MediaObject, ColdError> {
        match &self.columns {
            Columns::Objects(..) if self.is_deleted(row) => Err(self.error(row, "it says that the Object is gone")),
            Columns::Objects(_, ids, columns) => columns.get(ids, row).map_err(|reason| self.error(row, &reason)),
            _ => Err(self.error(row, "it is no Object")),
        }
    }

    /// The id of a row of Objects, whether or not the Object is gone.
    pub fn object_id(&self, row: usize) -> Option<&str> {
        match &self.columns {
            Columns::Objects(_, ids, _) => text_at(ids, row),
            _ => None,
        }
    }

    pub fn reference(&self, row: usize) -> Result<Reference, ColdError> {
        match &self.columns {
            Columns::References(hashes, places) if row < self.len() => {
                Ok(Reference { key: reference_key(hashes, places, row), lsn: self.lsn(row) })
            }
            _ => Err(self.error(row, "it is no reference")),
        }
    }

    /// Bytes of memory, about.
    pub fn memory_size(&self) -> usize {
        let places = match &self.columns {
            Columns::Segments(places, _) => places.memory_size() + size_of::<SegmentColumns>(),
            Columns::Objects(places, ..) => places.capacity() * size_of::<ObjectPlace>() + size_of::<ObjectColumns>(),
            Columns::References(_, places) => places.memory_size(),
        };
        size_of::<Self>()
            + self.path.len()
            + self.batch.get_array_memory_size()
            + self.lsns.capacity() * size_of::<Lsn>()
            + places
    }

    fn error(&self, row: usize, reason: &str) -> ColdError {
        let lsn = self.lsn(row);
        ColdError::new(&self.path, format_args!("row of change {} in log entry {}: {reason}", lsn.index, lsn.seq))
    }
}

impl Places {
    fn read(batch: &RecordBatch) -> Result<Self, Reason> {
        let flow_ids: StringArray = whole(batch, "flow_id")?;
        let seconds: Int64Array = whole(batch, "start_seconds")?;
        let nanoseconds: Int32Array = whole(batch, "start_nanoseconds")?;
        let inclusive: BooleanArray = whole(batch, "start_inclusive")?;
        let mut flows: Vec<FlowId> = Vec::with_capacity(batch.num_rows());
        let mut starts = Vec::with_capacity(batch.num_rows());
        let mut last = "";
        for (row, text) in (0..batch.num_rows()).map(|row| (row, flow_ids.value(row))) {
            match flows.last() {
                Some(flow_id) if text == last => flows.push(*flow_id),
                _ => flows.push(text.parse::<FlowId>().map_err(|error| error.to_string())?),
            }
            last = text;
            let at = times::timestamp(seconds.value(row), nanoseconds.value(row)).map_err(|error| error.0)?;
            let start = Bound { at, inclusive: inclusive.value(row) };
            starts.push(TimeRange::new(Some(start), None).start_key());
        }
        Ok(Self { flows, starts })
    }

    fn get(&self, row: usize) -> (FlowId, i128) {
        match (self.flows.get(row), self.starts.get(row)) {
            (Some(flow_id), Some(start)) => (*flow_id, *start),
            _ => (FlowId::MAX, i128::MAX),
        }
    }

    fn memory_size(&self) -> usize {
        self.flows.capacity() * size_of::<FlowId>() + self.starts.capacity() * size_of::<i128>()
    }
}

impl SegmentColumns {
    fn read(batch: &RecordBatch) -> Result<Self, Reason> {
        Ok(Self {
            end: BoundColumns::read(batch, "end")?,
            object_id: column(batch, "object_id")?,
            ts_offset: TimeColumns::read(batch, "ts_offset")?,
            last_duration: TimeColumns::read(batch, "last_duration")?,
            sample_offset: column(batch, "sample_offset")?,
            sample_count: column(batch, "sample_count")?,
            init_object: column(batch, "init_object")?,
            object_flow: column(batch, "object_flow")?,
            object_start: BoundColumns::read(batch, "object_start")?,
            registered: column(batch, "registered")?,
        })
    }

    fn get(&self, places: &Places, row: usize) -> Result<FlowSegment, Reason> {
        let (flow_id, start) = places.get(row);
        let end = times::bound(self.end.get(row)).map_err(|error| error.0)?;
        let timerange = TimeRange::new(TimeRange::from_keys(start, i128::MAX).start(), end);
        if !timerange.is_bounded() {
            return Err(format!("timerange {timerange} is empty or open"));
        }
        Ok(FlowSegment {
            flow_id,
            timerange,
            object_id: object_id(required(text(self.object_id.as_ref(), row), "object_id")?)?,
            init_object: text(self.init_object.as_ref(), row).map(object_id).transpose()?,
            ts_offset: required(self.ts_offset.get(row)?, "ts_offset")?,
            last_duration: self.last_duration.get(row)?,
            sample_offset: number(self.sample_offset.as_ref(), row),
            sample_count: number(self.sample_count.as_ref(), row),
            object_place: match text(self.object_flow.as_ref(), row) {
                None => None,
                Some(flow_id) => Some(ObjectPlace {
                    flow_id: flow_id.parse().map_err(|_| bad("object_flow"))?,
                    start: start_key(self.object_start.get(row))?,
                }),
            },
            registered: utc(self.registered.as_ref(), row)?,
        })
    }
}

impl ObjectColumns {
    fn read(batch: &RecordBatch) -> Result<Self, Reason> {
        Ok(Self {
            kind: column(batch, "kind")?,
            first_flow: column(batch, "first_flow")?,
            start: BoundColumns::read(batch, "start")?,
            end: BoundColumns::read(batch, "end")?,
            key_frame_count: column(batch, "key_frame_count")?,
            init_object: column(batch, "init_object")?,
            content_type: column(batch, "content_type")?,
            expires: column(batch, "expires")?,
            instances: Instances::read(batch, "instances")?,
            condemned: column(batch, "condemned")?,
            created: column(batch, "created")?,
            condemned_instances: Instances::read(batch, "condemned_instances")?,
            deleted: column(batch, "deleted")?,
            size_bytes: column(batch, "size_bytes")?,
        })
    }

    fn places(&self, rows: usize) -> Result<Vec<ObjectPlace>, Reason> {
        let place = |row: usize| match self.start.get(row) {
            (None, None, None) => Ok(ObjectPlace::OF_INIT_OBJECTS),
            start => {
                let flow_id = parsed(text(self.first_flow.as_ref(), row), "first_flow")?;
                Ok(ObjectPlace { flow_id, start: start_key(start)? })
            }
        };
        (0..rows).map(place).collect()
    }

    fn get(&self, ids: &StringArray, row: usize) -> Result<MediaObject, Reason> {
        let id = object_id(required(text_at(ids, row), "id")?)?;
        let timerange = match (self.start.get(row), self.end.get(row)) {
            ((None, None, None), (None, None, None)) => None,
            (start, end) => Some(times::bounded(start, end).map_err(|error| error.0)?),
        };
        let kind = match text(self.kind.as_ref(), row) {
            None => None,
            Some("media") => Some(ObjectKind::Media),
            Some("init") => Some(ObjectKind::Init),
            Some(other) => return Err(format!("{other:?} is no kind of Object")),
        };
        let allocation = match (text(self.content_type.as_ref(), row), utc(self.expires.as_ref(), row)?) {
            (None, None) => None,
            (Some(content_type), Some(expires)) => {
                Some(Allocation { content_type: content_type.parse().map_err(|_| bad("content_type"))?, expires })
            }
            _ => return Err("an allocation is half there".into()),
        };
        let created = required(utc(self.created.as_ref(), row)?, "created")?;
        let own_key = MediaObject::own_key(&id, created);
        Ok(MediaObject {
            kind,
            first_flow: parsed(text(self.first_flow.as_ref(), row), "first_flow")?,
            timerange,
            key_frame_count: number(self.key_frame_count.as_ref(), row),
            init_object: text(self.init_object.as_ref(), row).map(object_id).transpose()?,
            allocation,
            instances: self
                .instances
                .at(row)
                .map(|at| self.instances.instance(at, &own_key))
                .collect::<Result<_, _>>()?,
            condemned_instances: self
                .condemned_instances
                .at(row)
                .map(|at| self.condemned_instances.condemned(at))
                .collect::<Result<_, _>>()?,
            condemned: required(flag(self.condemned.as_ref(), row), "condemned")?,
            created,
            size_bytes: number(self.size_bytes.as_ref(), row),
            id,
        })
    }
}

impl TimeColumns {
    fn read(batch: &RecordBatch, name: &str) -> Result<Self, Reason> {
        let seconds = column(batch, &format!("{name}_seconds"))?;
        Ok(Self { seconds, nanoseconds: column(batch, &format!("{name}_nanoseconds"))? })
    }

    fn parts(&self, row: usize) -> (Option<i64>, Option<i32>) {
        let nanoseconds = self.nanoseconds.as_ref().filter(|column| !is_null(*column, row));
        (number(self.seconds.as_ref(), row), nanoseconds.and_then(|column| column.values().get(row).copied()))
    }

    fn get(&self, row: usize) -> Result<Option<crate::domain::Timestamp>, Reason> {
        match self.parts(row) {
            (None, None) => Ok(None),
            (Some(seconds), Some(nanoseconds)) => {
                times::timestamp(seconds, nanoseconds).map(Some).map_err(|error| error.0)
            }
            _ => Err("a time is half there".into()),
        }
    }
}

impl BoundColumns {
    fn read(batch: &RecordBatch, name: &str) -> Result<Self, Reason> {
        Ok(Self { at: TimeColumns::read(batch, name)?, inclusive: column(batch, &format!("{name}_inclusive"))? })
    }

    fn get(&self, row: usize) -> times::BoundColumns {
        let (seconds, nanoseconds) = self.at.parts(row);
        (seconds, nanoseconds, flag(self.inclusive.as_ref(), row))
    }
}

impl Instances {
    fn read(batch: &RecordBatch, name: &str) -> Result<Self, Reason> {
        let lists: Maybe<ListArray> = column(batch, name)?;
        let Some(values) = lists.as_ref().map(ListArray::values) else {
            return Ok(Self { lists: None, storage_id: None, key: None, url: None, label: None });
        };
        let values = values.as_any().downcast_ref::<StructArray>().ok_or_else(|| bad(name))?;
        let part = |part: &str| values.column_by_name(part).map(|column| typed(column, part)).transpose();
        let (storage_id, key, url, label) = (part("storage_id")?, part("key")?, part("url")?, part("label")?);
        Ok(Self { lists, storage_id, key, url, label })
    }

    /// Places of a row's elements.
    fn at(&self, row: usize) -> std::ops::Range<usize> {
        let Some(lists) = self.lists.as_ref().filter(|lists| !is_null(*lists, row)) else { return 0..0 };
        let offset = |at: usize| lists.value_offsets().get(at).and_then(|offset| usize::try_from(*offset).ok());
        match (offset(row), offset(row + 1)) {
            (Some(start), Some(end)) => start..end,
            _ => 0..0,
        }
    }

    fn instance(&self, at: usize, own_key: &str) -> Result<Instance, Reason> {
        let (key, url) = (text(self.key.as_ref(), at), text(self.url.as_ref(), at));
        let label = text(self.label.as_ref(), at).map(str::to_owned);
        match (text(self.storage_id.as_ref(), at), key, url, &label) {
            (Some(storage_id), key, None, None) => {
                let key = key.unwrap_or(own_key).to_owned();
                Ok(Instance::Controlled { storage_id: parsed(Some(storage_id), "storage_id")?, key })
            }
            (None, None, Some(url), _) => Ok(Instance::Uncontrolled { url: url.to_owned(), label }),
            _ => Err("an instance is neither a key on a backend nor a URL".into()),
        }
    }

    fn condemned(&self, at: usize) -> Result<CondemnedInstance, Reason> {
        let storage_id: StorageId = parsed(text(self.storage_id.as_ref(), at), "storage_id")?;
        Ok(CondemnedInstance { storage_id, key: required(text(self.key.as_ref(), at), "key")?.to_owned() })
    }
}

fn reference_key(hashes: &Int64Array, places: &Places, row: usize) -> ReferenceKey {
    let (flow_id, start) = places.get(row);
    let object_hash = hashes.values().get(row).copied().unwrap_or_default();
    ReferenceKey { object_hash, segment: SegmentKey { flow_id, start } }
}

fn start_key(columns: times::BoundColumns) -> Result<i128, Reason> {
    let bound = times::bound(columns).map_err(|error| error.0)?;
    Ok(TimeRange::new(bound, None).start_key())
}

fn lsns(batch: &RecordBatch) -> Result<Vec<Lsn>, Reason> {
    let (seq, index): (Int64Array, Int64Array) = (whole(batch, "lsn_seq")?, whole(batch, "lsn_index")?);
    let pairs = seq.values().iter().zip(index.values());
    let lsns =
        pairs.map(|(seq, index)| Some(Lsn { seq: u64::try_from(*seq).ok()?, index: u32::try_from(*index).ok()? }));
    lsns.collect::<Option<_>>().ok_or_else(|| "an LSN is out of range".into())
}

fn bad(name: &str) -> Reason {
    format!("column {name} is not what it should be")
}

fn typed<A: Array + Clone + 'static>(column: &ArrayRef, name: &str) -> Result<A, Reason> {
    column.as_any().downcast_ref::<A>().cloned().ok_or_else(|| bad(name))
}

fn column<A: Array + Clone + 'static>(batch: &RecordBatch, name: &str) -> Result<Maybe<A>, Reason> {
    batch.column_by_name(name).map(|column| typed(column, name)).transpose()
}

/// A column that is there and has no nulls.
fn whole<A: Array + Clone + 'static>(batch: &RecordBatch, name: &str) -> Result<A, Reason> {
    let column: Maybe<A> = column(batch, name)?;
    column.filter(|column| column.null_count() == 0).ok_or_else(|| format!("column {name} is missing or has nulls"))
}

fn is_null(column: &impl Array, row: usize) -> bool {
    row >= column.len() || column.is_null(row)
}

fn text_at(column: &StringArray, row: usize) -> Option<&str> {
    (!is_null(column, row)).then(|| column.value(row))
}

fn text(column: Option<&StringArray>, row: usize) -> Option<&str> {
    column.and_then(|column| text_at(column, row))
}

fn number(column: Option<&Int64Array>, row: usize) -> Option<i64> {
    column.filter(|column| !is_null(*column, row)).map(|column| column.value(row))
}

fn flag(column: Option<&BooleanArray>, row: usize) -> Option<bool> {
    column.filter(|column| !is_null(*column, row)).map(|column| column.value(row))
}

fn utc(column: Option<&TimestampMicrosecondArray>, row: usize) -> Result<Option<UtcTime>, Reason> {
    let micros = column.filter(|column| !is_null(*column, row)).map(|column| column.value(row));
    micros.map(times::utc).transpose().map_err(|error| error.0)
}

fn required<T>(value: Option<T>, name: &str) -> Result<T, Reason> {
    value.ok_or_else(|| format!("it has no {name}"))
}

fn object_id(text: &str) -> Result<ObjectId, Reason> {
    text.parse::<ObjectId>().map_err(|error| error.to_string())
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(text: Option<&str>, name: &str) -> Result<T, Reason> {
    required(text, name)?.parse().map_err(|error| format!("{name}: {error}"))
}
