//! Rows: domain values as Arrow record batches, in the schemas of `schemas/`. The one place where columns are named.

mod delete_request;
mod event;
mod file;
mod flow;
mod flow_segment;
mod object;
mod profile;
mod service;
mod source;
mod tags;
mod technical;
pub(super) mod times;
mod webhook;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow::datatypes::{Field, FieldRef, Schema};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use delete_request::DeleteRequestRow;
pub use event::EventRow;
pub use file::{FileRow, FlushedRow, PathRow, flushed_fields};
pub use flow::{FlowRow, StoredFlow};
pub use flow_segment::{RangeRow, SegmentKeyRow, SegmentRow};
pub use object::{GoneRow, ObjectRow, gone_fields};
pub use profile::ProfileRow;
pub use service::ServiceRow;
pub use source::SourceRow;
pub use webhook::WebhookRow;

use super::change::Lsn;
use super::tables::Table;
use crate::domain::{FlowId, ObjectId, SourceId};

#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct RowError(pub String);

impl RowError {
    fn new(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// Key of a row of the tables that are keyed by one id.
#[derive(Debug, Serialize, Deserialize)]
pub struct IdRow<I> {
    pub id: I,
}

pub type SourceKeyRow = IdRow<SourceId>;
pub type FlowKeyRow = IdRow<FlowId>;
pub type ObjectKeyRow = IdRow<ObjectId>;

/// The columns of range deletions: a Flow and a timerange whose ends may be open.
pub fn range_fields() -> Vec<FieldRef> {
    let parts = Table::FlowSegments
        .log_fields()
        .iter()
        .filter(|field| ["flow_id", "start_", "end_"].iter().any(|prefix| field.name().starts_with(prefix)));
    parts
        .map(|field| {
            let nullable = field.name() != "flow_id";
            Arc::new(field.as_ref().clone().with_nullable(nullable))
        })
        .collect()
}

/// Rows as a batch with these fields, and `lsn_index` behind them.
pub fn to_batch<R: Serialize>(fields: &[FieldRef], rows: &[R], index: Vec<u32>) -> Result<RecordBatch, RowError> {
    let columns = serde_arrow::to_arrow(fields, rows).map_err(RowError::new)?;
    with_columns(fields, columns, vec![("lsn_index", Arc::new(UInt32Array::from(index)))])
}

/// Rows as a batch with these fields, and the whole LSN of each behind them.
pub fn to_batch_with_lsn<R: Serialize>(fields: &[FieldRef], rows: &[R], lsns: &[Lsn]) -> Result<RecordBatch, RowError> {
    let columns = serde_arrow::to_arrow(fields, rows).map_err(RowError::new)?;
    let seq = Int64Array::from_iter_values(lsns.iter().map(|lsn| i64::try_from(lsn.seq).unwrap_or(i64::MAX)));
    let index = Int64Array::from_iter_values(lsns.iter().map(|lsn| i64::from(lsn.index)));
    with_columns(fields, columns, vec![("lsn_seq", Arc::new(seq)), ("lsn_index", Arc::new(index))])
}

fn with_columns(
    fields: &[FieldRef],
    mut columns: Vec<ArrayRef>,
    more: Vec<(&str, ArrayRef)>,
) -> Result<RecordBatch, RowError> {
    let mut fields = fields.to_vec();
    for (name, column) in more {
        fields.push(Arc::new(Field::new(name, column.data_type().clone(), false)));
        columns.push(column);
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(RowError::new)
}

/// The rows of a batch; columns that a row does not know are passed over, ones it lacks are null.
pub fn from_batch<R: DeserializeOwned>(batch: &RecordBatch) -> Result<Vec<R>, RowError> {
    serde_arrow::from_record_batch(batch).map_err(RowError::new)
}

/// The column `lsn_index` of a log batch.
pub fn index_of(batch: &RecordBatch) -> Result<Vec<u32>, RowError> {
    match batch.column_by_name("lsn_index").map(|column| column.as_any().downcast_ref::<UInt32Array>()) {
        Some(Some(column)) if column.null_count() == 0 => Ok(column.values().to_vec()),
        _ => Err(RowError("a batch has no column lsn_index of unsigned 32-bit integers".into())),
    }
}

/// The columns `lsn_seq` and `lsn_index` of a checkpoint batch.
pub fn lsns_of(batch: &RecordBatch) -> Result<Vec<Lsn>, RowError> {
    let column = |name: &str| match batch.column_by_name(name).map(|c| c.as_any().downcast_ref::<Int64Array>()) {
        Some(Some(column)) if column.null_count() == 0 => Ok(column.values().to_vec()),
        _ => Err(RowError(format!("a batch has no column {name} of 64-bit integers"))),
    };
    let numbers = column("lsn_seq")?.into_iter().zip(column("lsn_index")?);
    numbers
        .map(|(seq, index)| {
            Ok(Lsn {
                seq: u64::try_from(seq).map_err(RowError::new)?,
                index: u32::try_from(index).map_err(RowError::new)?,
            })
        })
        .collect()
}
