//! Cold rows as Parquet files: bytes in, bytes out. What a file is like, how it is written, what of it stays in memory,
//! and how one page of it is read. Knows nothing of where files live, of runs, or of what is visible.
//!
//! A file is sorted by key, then LSN. Pages of all columns hold the same rows, so a page number names rows.

mod batches;
mod ids;
mod index;
mod layout;
mod page;
mod page_list;
mod write;

use std::sync::{Arc, LazyLock};

use arrow::array::{RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use sha2::{Digest, Sha256};

pub use batches::{ObjectEntry, Reference, objects_batch, references_batch, segments_batch};
pub use ids::entries as id_entries;
pub use index::{FileIndex, statistics};
pub use layout::Layout;
pub use page::Page;
pub use write::FileWriter;

use super::change::{Lsn, SegmentKey};
use super::tables::{self, Table};

/// A file that is not what its manifest says, or rows that do not make a file.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct ColdError {
    pub path: String,
    pub reason: String,
}

impl ColdError {
    fn new(path: &str, reason: impl std::fmt::Display) -> Self {
        Self { path: path.to_owned(), reason: reason.to_string() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ColdTable {
    FlowSegments,
    Objects,
    References,
}

impl ColdTable {
    pub const ALL: [Self; 3] = [Self::FlowSegments, Self::Objects, Self::References];

    pub fn name(self) -> &'static str {
        match self {
            Self::FlowSegments => Table::FlowSegments.name(),
            Self::Objects => Table::Objects.name(),
            Self::References => "object_references",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }

    /// The table's own columns with their descriptions.
    pub fn own_schema(self) -> &'static SchemaRef {
        match self {
            Self::FlowSegments => Table::FlowSegments.schema(),
            Self::Objects => Table::Objects.schema(),
            Self::References => tables::object_references(),
        }
    }

    /// The table's columns without descriptions, then `lsn_seq` and `lsn_index`.
    pub fn schema(self) -> &'static SchemaRef {
        static SCHEMAS: LazyLock<[SchemaRef; 3]> = LazyLock::new(|| {
            ColdTable::ALL.map(|table| {
                let lsn = ["lsn_seq", "lsn_index"].map(|name| Arc::new(Field::new(name, DataType::Int64, false)));
                let fields = table.own_schema().fields().iter().map(tables::bare).chain(lsn);
                Arc::new(Schema::new(fields.collect::<Vec<_>>()))
            })
        });
        let [segments, objects, references] = &*SCHEMAS;
        match self {
            Self::FlowSegments => segments,
            Self::Objects => objects,
            Self::References => references,
        }
    }

    /// Rows of a file in [`ColdTable::schema`]: columns that came after the file are null.
    pub fn as_of_today(self, rows: &RecordBatch) -> Result<RecordBatch, ColdError> {
        project(rows, self.schema()).map_err(|error| ColdError::new(&format!("rows of {}", self.name()), error))
    }

    fn version(self) -> &'static str {
        self.own_schema().metadata().get("tamslake.version").map_or("", String::as_str)
    }
}

/// What a manifest knows of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct FileMeta {
    pub table: ColdTable,
    pub path: String,
    pub rows: u64,
    pub bytes: u64,
    pub sha256: [u8; 32],
    /// From the end of the last data page to the end of the file: Bloom filters, page index, footer.
    pub tail_bytes: u64,
    pub tail_sha256: [u8; 32],
    pub first_key: Vec<u8>,
    pub last_key: Vec<u8>,
    pub min_lsn: Lsn,
    pub max_lsn: Lsn,
}

impl FileMeta {
    /// Where in the file its tail is.
    pub fn tail(&self) -> std::ops::Range<u64> {
        self.bytes.saturating_sub(self.tail_bytes)..self.bytes
    }
}

/// A file that is part of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct ColdFile {
    pub meta: FileMeta,
    /// Log entry of the state that it was written from: what was deleted by then is not in it.
    pub as_of: u64,
    /// Files of one run do not overlap.
    pub run: u64,
    /// Names the file in this process's memory; made from its path.
    pub id: u64,
}

impl ColdFile {
    pub fn new(meta: FileMeta, as_of: u64, run: u64) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = sha256(meta.path.as_bytes());
        Self { meta, as_of, run, id: u64::from_be_bytes([a, b, c, d, e, f, g, h]) }
    }

    /// Whether a tombstone may hide rows of it: older ones, at places that it has, which were not left out when it was
    /// written.
    pub fn may_have_hidden(&self, from: SegmentKey, to: i128, lsn: Lsn) -> bool {
        let is_older = self.as_of < lsn.seq && self.meta.min_lsn < lsn;
        is_older
            && match self.meta.table {
                ColdTable::FlowSegments => {
                    self.may_hold_between(&from.to_bytes(), &SegmentKey { start: to, ..from }.to_bytes())
                }
                // Sorted by other things.
                ColdTable::References => true,
                ColdTable::Objects => false,
            }
    }

    /// Whether rows from the first key on and below the second can be in it.
    pub fn may_hold_between(&self, from: &[u8], to: &[u8]) -> bool {
        self.meta.first_key[..] < *to && self.meta.last_key[..] >= *from
    }
}

/// The columns of a schema, by name; null where there is no such column.
pub fn project(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = schema.fields().iter().map(|field| match rows.column_by_name(field.name()) {
        Some(column) => column.clone(),
        None => new_null_array(field.data_type(), rows.num_rows()),
    });
    let count = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns.collect(), &count)
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

#[cfg(test)]
mod measure;
#[cfg(test)]
mod tests;
