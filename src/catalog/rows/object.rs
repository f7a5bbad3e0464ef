//! Columns of `objects`.

use std::sync::Arc;

use arrow::datatypes::FieldRef;
use serde::{Deserialize, Serialize};

use super::{RowError, times};
use crate::catalog::tables::Table;
use crate::domain::{
    Allocation, CondemnedInstance, FlowId, Instance, MediaObject, MimeType, ObjectId, ObjectKind, ObjectPlace,
    StorageId, TimeRange,
};

#[derive(Debug, Serialize, Deserialize)]
pub struct ObjectRow {
    id: ObjectId,
    kind: Option<KindWord>,
    first_flow: FlowId,
    start_seconds: Option<i64>,
    start_nanoseconds: Option<i32>,
    start_inclusive: Option<bool>,
    end_seconds: Option<i64>,
    end_nanoseconds: Option<i32>,
    end_inclusive: Option<bool>,
    key_frame_count: Option<i64>,
    init_object: Option<ObjectId>,
    content_type: Option<String>,
    expires: Option<i64>,
    instances: Vec<InstanceRow>,
    condemned: bool,
    created: i64,
    condemned_instances: Option<Vec<CondemnedInstanceRow>>,
    /// Only cold files say it.
    deleted: Option<bool>,
    size_bytes: Option<i64>,
}

/// An Object that is gone, and where its row is.
#[derive(Debug, Serialize, Deserialize)]
pub struct GoneRow {
    id: ObjectId,
    /// Of an init object, and in entries of before there were cold files, it and the next are not there.
    first_flow: Option<FlowId>,
    start_seconds: Option<i64>,
    start_nanoseconds: Option<i32>,
    start_inclusive: Option<bool>,
}

pub fn gone_fields() -> Vec<FieldRef> {
    let names = ["id", "first_flow", "start_seconds", "start_nanoseconds", "start_inclusive"];
    let fields = Table::Objects.log_fields().iter().filter(|field| names.contains(&field.name().as_str()));
    fields
        .map(|field| {
            let nullable = field.name() != "id";
            Arc::new(field.as_ref().clone().with_nullable(nullable))
        })
        .collect()
}

impl GoneRow {
    pub fn new(id: &ObjectId, place: ObjectPlace) -> Self {
        let is_init = place == ObjectPlace::OF_INIT_OBJECTS;
        let start = if is_init { None } else { TimeRange::from_keys(place.start, i128::MAX).start() };
        let (start_seconds, start_nanoseconds, start_inclusive) = times::bound_columns(start);
        let first_flow = (!is_init).then_some(place.flow_id);
        Self { id: id.clone(), first_flow, start_seconds, start_nanoseconds, start_inclusive }
    }
}

impl TryFrom<GoneRow> for (ObjectId, ObjectPlace) {
    type Error = RowError;
    fn try_from(row: GoneRow) -> Result<Self, RowError> {
        let Some(flow_id) = row.first_flow else { return Ok((row.id, ObjectPlace::OF_INIT_OBJECTS)) };
        let start = times::bound((row.start_seconds, row.start_nanoseconds, row.start_inclusive))?;
        Ok((row.id, ObjectPlace { flow_id, start: TimeRange::new(start, None).start_key() }))
    }
}

/// Written as text; serde's own enums would become Arrow unions.
#[derive(Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
struct KindWord(ObjectKind);

impl Clone for KindWord {
    fn clone(&self) -> Self {
        Self(self.0)
    }
}

impl From<KindWord> for &'static str {
    fn from(kind: KindWord) -> Self {
        match kind.0 {
            ObjectKind::Media => "media",
            ObjectKind::Init => "init",
        }
    }
}

impl TryFrom<String> for KindWord {
    type Error = RowError;
    fn try_from(word: String) -> Result<Self, RowError> {
        match word.as_str() {
            "media" => Ok(Self(ObjectKind::Media)),
            "init" => Ok(Self(ObjectKind::Init)),
            _ => Err(RowError(format!("{word:?} is no kind of Object"))),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct InstanceRow {
    storage_id: Option<StorageId>,
    key: Option<String>,
    url: Option<String>,
    label: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct CondemnedInstanceRow {
    storage_id: StorageId,
    key: String,
}

/// Null and not an empty list where there are none, as in files that do not have the column.
fn condemned_rows(instances: &[CondemnedInstance]) -> Option<Vec<CondemnedInstanceRow>> {
    let row = |instance: &CondemnedInstance| CondemnedInstanceRow {
        storage_id: instance.storage_id,
        key: instance.key.clone(),
    };
    (!instances.is_empty()).then(|| instances.iter().map(row).collect())
}

impl From<CondemnedInstanceRow> for CondemnedInstance {
    fn from(row: CondemnedInstanceRow) -> Self {
        Self { storage_id: row.storage_id, key: row.key }
    }
}

impl InstanceRow {
    /// The Object's own key ([`MediaObject::own_key`]), which follows from other columns, is left out.
    fn new(instance: &Instance, own_key: &str) -> Self {
        match instance.clone() {
            Instance::Controlled { storage_id, key } => Self {
                storage_id: Some(storage_id),
                key: Some(key).filter(|key| key != own_key),
                url: None,
                label: None,
            },
            Instance::Uncontrolled { url, label } => Self { storage_id: None, key: None, url: Some(url), label },
        }
    }

    fn instance(self, own_key: &str) -> Result<Instance, RowError> {
        match (self.storage_id, self.key, self.url, self.label) {
            (Some(storage_id), key, None, None) => {
                Ok(Instance::Controlled { storage_id, key: key.unwrap_or_else(|| own_key.to_owned()) })
            }
            (None, None, Some(url), label) => Ok(Instance::Uncontrolled { url, label }),
            _ => Err(RowError("an instance is neither a key on a backend nor a URL".into())),
        }
    }
}

impl From<&MediaObject> for ObjectRow {
    fn from(object: &MediaObject) -> Self {
        let own_key = MediaObject::own_key(&object.id, object.created);
        let (start, end) = object.timerange.map_or((None, None), |range| (range.start(), range.end()));
        let (start_seconds, start_nanoseconds, start_inclusive) = times::bound_columns(start);
        let (end_seconds, end_nanoseconds, end_inclusive) = times::bound_columns(end);
        Self {
            id: object.id.clone(),
            kind: object.kind.map(KindWord),
            first_flow: object.first_flow,
            start_seconds,
            start_nanoseconds,
            start_inclusive,
            end_seconds,
            end_nanoseconds,
            end_inclusive,
            key_frame_count: object.key_frame_count,
            init_object: object.init_object.clone(),
            content_type: object.allocation.as_ref().map(|allocation| allocation.content_type.to_string()),
            expires: object.allocation.as_ref().map(|allocation| times::micros(allocation.expires)),
            instances: object.instances.iter().map(|instance| InstanceRow::new(instance, &own_key)).collect(),
            condemned: object.condemned,
            created: times::micros(object.created),
            condemned_instances: condemned_rows(&object.condemned_instances),
            deleted: None,
            size_bytes: object.size_bytes,
        }
    }
}

impl TryFrom<ObjectRow> for MediaObject {
    type Error = RowError;
    fn try_from(row: ObjectRow) -> Result<Self, RowError> {
        let timerange = match row.start_seconds {
            None => None,
            Some(_) => Some(times::bounded(
                (row.start_seconds, row.start_nanoseconds, row.start_inclusive),
                (row.end_seconds, row.end_nanoseconds, row.end_inclusive),
            )?),
        };
        let allocation = match (row.content_type, row.expires) {
            (None, None) => None,
            (Some(content_type), Some(expires)) => Some(Allocation {
                content_type: content_type.parse::<MimeType>().map_err(RowError::new)?,
                expires: times::utc(expires)?,
            }),
            _ => return Err(RowError("an allocation is half there".into())),
        };
        let created = times::utc(row.created)?;
        let own_key = MediaObject::own_key(&row.id, created);
        Ok(Self {
            id: row.id,
            kind: row.kind.map(|kind| kind.0),
            first_flow: row.first_flow,
            timerange,
            key_frame_count: row.key_frame_count,
            init_object: row.init_object,
            allocation,
            instances: row.instances.into_iter().map(|row| row.instance(&own_key)).collect::<Result<_, _>>()?,
            condemned_instances: row.condemned_instances.into_iter().flatten().map(CondemnedInstance::from).collect(),
            condemned: row.condemned,
            created,
            size_bytes: row.size_bytes,
        })
    }
}
