//! Columns of `files`, and of what the log says about flushing.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use serde::{Deserialize, Serialize};

use super::RowError;
use crate::catalog::change::Lsn;
use crate::catalog::cold::{ColdFile, ColdTable, FileMeta};
use crate::domain::{hex, unhex, unhex_all};

#[derive(Debug, Serialize, Deserialize)]
pub struct FileRow {
    path: String,
    table: String,
    rows: i64,
    bytes: i64,
    sha256: String,
    tail_bytes: i64,
    tail_sha256: String,
    first_key: String,
    last_key: String,
    min_lsn_seq: i64,
    min_lsn_index: i64,
    max_lsn_seq: i64,
    max_lsn_index: i64,
    as_of: i64,
    run: i64,
}

/// Beyond it no log or file gets; it would be read back as what it is not and refused.
fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned<T: TryFrom<i64>>(value: i64) -> Result<T, RowError> {
    T::try_from(value).map_err(|_| RowError(format!("{value} is no number of that kind")))
}

impl From<&ColdFile> for FileRow {
    fn from(file: &ColdFile) -> Self {
        let meta = &file.meta;
        Self {
            path: meta.path.clone(),
            table: meta.table.name().to_owned(),
            rows: number(meta.rows),
            bytes: number(meta.bytes),
            sha256: hex(&meta.sha256),
            tail_bytes: number(meta.tail_bytes),
            tail_sha256: hex(&meta.tail_sha256),
            first_key: hex(&meta.first_key),
            last_key: hex(&meta.last_key),
            min_lsn_seq: number(meta.min_lsn.seq),
            min_lsn_index: i64::from(meta.min_lsn.index),
            max_lsn_seq: number(meta.max_lsn.seq),
            max_lsn_index: i64::from(meta.max_lsn.index),
            as_of: number(file.as_of),
            run: number(file.run),
        }
    }
}

impl TryFrom<FileRow> for ColdFile {
    type Error = RowError;
    fn try_from(row: FileRow) -> Result<Self, RowError> {
        let no_hex = || RowError("a hash or key of a file is not hexadecimal".into());
        let table = ColdTable::from_name(&row.table)
            .ok_or_else(|| RowError(format!("a file is of the table {:?}, which is not known", row.table)))?;
        let lsn = |seq, index| Ok::<_, RowError>(Lsn { seq: unsigned(seq)?, index: unsigned(index)? });
        let meta = FileMeta {
            table,
            path: row.path,
            rows: unsigned(row.rows)?,
            bytes: unsigned(row.bytes)?,
            sha256: unhex(&row.sha256).ok_or_else(no_hex)?,
            tail_bytes: unsigned(row.tail_bytes)?,
            tail_sha256: unhex(&row.tail_sha256).ok_or_else(no_hex)?,
            first_key: unhex_all(&row.first_key).ok_or_else(no_hex)?,
            last_key: unhex_all(&row.last_key).ok_or_else(no_hex)?,
            min_lsn: lsn(row.min_lsn_seq, row.min_lsn_index)?,
            max_lsn: lsn(row.max_lsn_seq, row.max_lsn_index)?,
        };
        Ok(Self::new(meta, unsigned(row.as_of)?, unsigned(row.run)?))
    }
}

/// Key of `files`.
#[derive(Debug, Serialize, Deserialize)]
pub struct PathRow {
    pub path: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct FlushedRow {
    as_of: i64,
}

/// The column of what says that rows were flushed.
pub fn flushed_fields() -> Vec<FieldRef> {
    vec![Arc::new(Field::new("as_of", DataType::Int64, false))]
}

impl TryFrom<u64> for FlushedRow {
    type Error = RowError;
    fn try_from(as_of: u64) -> Result<Self, RowError> {
        Ok(Self { as_of: number(as_of) })
    }
}

impl TryFrom<FlushedRow> for u64 {
    type Error = RowError;
    fn try_from(row: FlushedRow) -> Result<Self, RowError> {
        unsigned(row.as_of)
    }
}
