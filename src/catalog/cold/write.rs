//! Writing a file: sorted rows in, bytes and what a manifest must know of them out.

use std::cmp::Ordering;
use std::io::Write;

use arrow::array::{Array, ArrayRef, ListArray, RecordBatch};
use arrow::compute::concat_batches;
use bytes::Bytes;
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::{ArrowWriter, ArrowWriterOptions};
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    FileMetaData, KeyValue, ParquetMetaData, ParquetMetaDataBuilder, ParquetMetaDataWriter, RowGroupMetaData,
};
use parquet::file::writer::TrackedWrite;

use super::ids::{ID_BLOCKS, Ids};
use super::index::chunk_ranges;
use super::page_list::{Keys, PAGE_CRCS, PAGE_KEYS, encode_crcs};
use super::{ColdError, ColdTable, FileMeta, Layout, Page, sha256};
use crate::catalog::change::Lsn;

/// A page with more bytes than this is cut short, which ends its row group.
const MAX_PAGE_BYTES: usize = 8 << 20;

/// Collects sorted rows. The bytes stay in memory until [`FileWriter::finish`].
pub struct FileWriter {
    table: ColdTable,
    path: String,
    page_rows: usize,
    writer: ArrowWriter<Vec<u8>>,
    waiting: Vec<RecordBatch>,
    waiting_rows: usize,
    waiting_bytes: usize,
    rows: u64,
    page_keys: Keys,
    first_key: Vec<u8>,
    last_key: Vec<u8>,
    last_lsn: Lsn,
    min_lsn: Lsn,
    max_lsn: Lsn,
    /// Of Objects: hash of the id and number of the row.
    ids: Ids,
}

impl std::fmt::Debug for FileWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileWriter").field("path", &self.path).field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl FileWriter {
    /// `path` is what the manifest will call the file.
    pub fn with_layout(table: ColdTable, path: String, layout: Layout) -> Result<Self, ColdError> {
        let writer = open(table, layout).map_err(|error| ColdError::new(&path, error))?;
        let page_rows = layout.page_rows.max(1);
        Ok(Self {
            table,
            path,
            page_rows,
            writer,
            waiting: Vec::new(),
            waiting_rows: 0,
            waiting_bytes: 0,
            rows: 0,
            page_keys: Keys::default(),
            first_key: Vec::new(),
            last_key: Vec::new(),
            last_lsn: Lsn::default(),
            min_lsn: Lsn { seq: u64::MAX, index: u32::MAX },
            max_lsn: Lsn::default(),
            ids: Ids::default(),
        })
    }

    /// Rows in the table's schema, each after the one before it by key, then LSN. After an error the writer is of no use.
    pub fn push(&mut self, batch: &RecordBatch) -> Result<(), ColdError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        if batch.schema_ref().fields() != self.table.schema().fields() {
            return Err(self.error("rows are not in the table's schema"));
        }
        let rows = Page::new(self.table, batch.clone(), &self.path)?;
        let mut from = 0;
        while from < batch.num_rows() {
            let mut take = (self.page_rows - self.waiting_rows).min(batch.num_rows() - from);
            while take > 1 && bytes_of(&batch.slice(from, take)) > MAX_PAGE_BYTES {
                take /= 2;
            }
            for row in from..from + take {
                self.note(&rows, row, self.waiting_rows == 0 && row == from)?;
            }
            let part = batch.slice(from, take);
            self.waiting_bytes += bytes_of(&part);
            self.waiting_rows += take;
            self.waiting.push(part);
            if self.waiting_rows == self.page_rows || self.waiting_bytes > MAX_PAGE_BYTES {
                self.write_page()?;
            }
            from += take;
        }
        Ok(())
    }

    fn note(&mut self, rows: &Page, row: usize, starts_page: bool) -> Result<(), ColdError> {
        let lsn = rows.lsn(row);
        let order = rows.compare_key(row, &self.last_key).then(lsn.cmp(&self.last_lsn));
        if self.rows > 0 && order != Ordering::Greater {
            return Err(self.error(format_args!("row {} does not come after the one before it", self.rows)));
        }
        rows.write_key(row, &mut self.last_key);
        if self.rows == 0 {
            self.first_key.clone_from(&self.last_key);
        }
        if starts_page && !self.page_keys.push(&self.last_key) {
            return Err(self.error("it has too many pages"));
        }
        if rows.object_id(row).is_some_and(|id| !self.ids.push(id, self.rows)) {
            return Err(self.error("it has too many rows"));
        }
        self.last_lsn = lsn;
        self.min_lsn = self.min_lsn.min(lsn);
        self.max_lsn = self.max_lsn.max(lsn);
        self.rows += 1;
        Ok(())
    }

    fn write_page(&mut self) -> Result<(), ColdError> {
        let page = match self.waiting.as_slice() {
            [] => return Ok(()),
            [page] => page.clone(),
            parts => concat_batches(self.table.schema(), parts).map_err(|error| self.error(error))?,
        };
        self.waiting.clear();
        (self.waiting_rows, self.waiting_bytes) = (0, 0);
        self.writer.write(&page).map_err(|error| self.error(error))?;
        // A page ends with so many rows or with its row group.
        if page.num_rows() < self.page_rows {
            self.writer.flush().map_err(|error| self.error(error))?;
        }
        Ok(())
    }

    /// The file. One without rows is an error.
    pub fn finish(mut self) -> Result<(Bytes, FileMeta), ColdError> {
        if self.rows == 0 {
            return Err(self.error("a file must have rows"));
        }
        self.write_page()?;
        let (bytes, tail_start) = self.close().map_err(|error| self.error(error))?;
        let tail = bytes.get(tail_start..).unwrap_or_default();
        let meta = FileMeta {
            table: self.table,
            rows: self.rows,
            bytes: bytes.len() as u64,
            sha256: sha256(&bytes),
            tail_bytes: tail.len() as u64,
            tail_sha256: sha256(tail),
            path: self.path,
            first_key: self.first_key,
            last_key: self.last_key,
            min_lsn: self.min_lsn,
            max_lsn: self.max_lsn,
        };
        Ok((bytes.into(), meta))
    }

    /// Closes the Parquet file and writes its footer again, with the pages' keys and checksums.
    fn close(&mut self) -> Result<(Vec<u8>, usize), ParquetError> {
        let parquet = self.writer.finish()?;
        let bytes = std::mem::take(self.writer.inner_mut());
        let data_end = end_of_data(&parquet)?;
        let crcs = checksums(&parquet, &bytes)?;
        let blooms_end = end_of_bloom_filters(&parquet, data_end)?;
        // Between the data and the rest, so that the tail, which is read as a whole, does not have it.
        let ids = std::mem::take(&mut self.ids).encode();
        let moved = i64::try_from(ids.bytes.len())?;
        let row_groups = parquet.row_groups().iter().map(|group| with_blooms_moved(group, moved));
        let row_groups = row_groups.collect::<Result<Vec<_>, _>>()?;
        let file = parquet.file_metadata();
        let mut key_values = file.key_value_metadata().cloned().unwrap_or_default();
        key_values.push(KeyValue::new(PAGE_KEYS.to_owned(), self.page_keys.encode()));
        key_values.push(KeyValue::new(PAGE_CRCS.to_owned(), encode_crcs(&crcs)));
        if self.table == ColdTable::Objects {
            key_values.push(KeyValue::new(ID_BLOCKS.to_owned(), ids.blocks));
        }
        let file = FileMetaData::new(
            file.version(),
            file.num_rows(),
            file.created_by().map(str::to_owned),
            Some(key_values),
            file.schema_descr_ptr(),
            file.column_orders().cloned(),
        );
        let parquet = ParquetMetaDataBuilder::new(file)
            .set_row_groups(row_groups)
            .set_offset_index(parquet.offset_index().cloned())
            .build();
        let mut written = Vec::with_capacity(bytes.len() + bytes.len() / 32);
        let mut out = TrackedWrite::new(&mut written);
        out.write_all(bytes.get(..data_end).ok_or_else(outside)?)?;
        out.write_all(&ids.bytes)?;
        out.write_all(bytes.get(data_end..blooms_end).ok_or_else(outside)?)?;
        ParquetMetaDataWriter::new_with_tracked(out, &parquet).finish()?;
        Ok((written, data_end + ids.bytes.len()))
    }

    fn error(&self, reason: impl std::fmt::Display) -> ColdError {
        ColdError::new(&self.path, reason)
    }
}

fn open(table: ColdTable, layout: Layout) -> Result<ArrowWriter<Vec<u8>>, ParquetError> {
    let columns = ArrowSchemaConverter::new().convert(table.schema())?;
    let properties = layout.properties(table, &columns)?;
    // The Arrow schema says nothing that Parquet's does not, and would be copied into every file.
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    ArrowWriter::try_new_with_options(Vec::new(), table.schema().clone(), options)
}

/// Bytes that these rows take up, as opposed to the buffers that they may be a small part of.
fn bytes_of(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(column_bytes).sum()
}

/// A slice of a list counts its elements only, which Arrow itself does not.
fn column_bytes(column: &ArrayRef) -> usize {
    let Some(lists) = column.as_any().downcast_ref::<ListArray>() else {
        return column.to_data().get_slice_memory_size().unwrap_or_default();
    };
    let offset = |at: Option<&i32>| at.and_then(|at| usize::try_from(*at).ok()).unwrap_or_default();
    let (start, end) = (offset(lists.value_offsets().first()), offset(lists.value_offsets().last()));
    let elements = lists.values().slice(start, end.saturating_sub(start));
    lists.len() * size_of::<i32>() + elements.to_data().get_slice_memory_size().unwrap_or_default()
}

fn with_blooms_moved(group: &RowGroupMetaData, by: i64) -> Result<RowGroupMetaData, ParquetError> {
    let columns = group.columns().iter().map(|chunk| {
        let offset = chunk.bloom_filter_offset().map(|offset| offset + by);
        chunk.clone().into_builder().set_bloom_filter_offset(offset).build()
    });
    group.clone().into_builder().set_column_metadata(columns.collect::<Result<_, _>>()?).build()
}

fn outside() -> ParquetError {
    ParquetError::General("the writer speaks of bytes that it did not write".into())
}

fn end_of_data(parquet: &ParquetMetaData) -> Result<usize, ParquetError> {
    let chunks = parquet.row_groups().iter().flat_map(RowGroupMetaData::columns);
    let ends = chunks.map(|chunk| {
        let (start, length) = chunk.byte_range();
        start + length
    });
    Ok(usize::try_from(ends.max().unwrap_or_default())?)
}

fn end_of_bloom_filters(parquet: &ParquetMetaData, tail_start: usize) -> Result<usize, ParquetError> {
    let mut end = tail_start;
    for chunk in parquet.row_groups().iter().flat_map(RowGroupMetaData::columns) {
        if let (Some(start), Some(length)) = (chunk.bloom_filter_offset(), chunk.bloom_filter_length()) {
            end = end.max(usize::try_from(start)? + usize::try_from(length)?);
        }
    }
    Ok(end)
}

/// For each column of each row group: its dictionary page's, 0 if it has none, then its data pages'.
fn checksums(parquet: &ParquetMetaData, bytes: &[u8]) -> Result<Vec<u32>, ParquetError> {
    let mut crcs = Vec::new();
    for (group, row_group) in parquet.row_groups().iter().enumerate() {
        for (column, chunk) in row_group.columns().iter().enumerate() {
            let ranges = chunk_ranges(parquet, group, column).ok_or_else(outside)?;
            debug_assert_eq!(ranges.first().map(|range| range.start), Some(chunk.byte_range().0));
            for range in ranges {
                let (start, end) = (usize::try_from(range.start)?, usize::try_from(range.end)?);
                let page = bytes.get(start..end).ok_or_else(outside)?;
                crcs.push(if page.is_empty() { 0 } else { crc32fast::hash(page) });
            }
        }
    }
    Ok(crcs)
}
