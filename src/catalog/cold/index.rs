//! What of a file stays in memory: where its pages are, the first key of each, their checksums, its Bloom filters.
//! Made from the file's tail alone; reads a page from the bytes that somebody else fetched.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use bytes::{Buf, Bytes};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
};
use parquet::bloom_filter::Sbbf;
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    PageIndexPolicy, ParquetMetaData, ParquetMetaDataOptions, ParquetMetaDataReader, ParquetStatisticsPolicy,
};
use parquet::file::reader::{ChunkReader, Length};

use super::ids::{ID_BLOCKS, IdBlocks, rows_with};
use super::page_list::{Keys, PAGE_CRCS, PAGE_KEYS, decode_crcs};
use super::{ColdError, ColdTable, FileMeta, Page, sha256};
use crate::domain::ObjectId;

#[derive(Debug)]
pub struct FileIndex {
    meta: FileMeta,
    parquet: ArrowReaderMetadata,
    keys: Keys,
    groups: Vec<Group>,
    ids: IdBlocks,
}

/// A row group.
#[derive(Debug)]
struct Group {
    /// Number of its first page in the file.
    first_page: u32,
    /// Number of its first row in the file.
    first_row: u64,
    /// First rows of its pages within it, then how many rows it has.
    rows: Vec<u32>,
    /// For each leaf column `1 + pages` of them: its dictionary page's and its data pages'.
    crcs: Vec<u32>,
    bloom: Option<Sbbf>,
}

impl Group {
    fn pages(&self) -> usize {
        self.rows.len().saturating_sub(1)
    }

    fn crcs(&self, column: usize) -> &[u32] {
        let each = self.pages() + 1;
        self.crcs.get(column * each..(column + 1) * each).unwrap_or_default()
    }
}

impl FileIndex {
    /// From the last [`FileMeta::tail_bytes`] bytes of the file.
    pub fn load(meta: &FileMeta, tail: &Bytes) -> Result<Self, ColdError> {
        let error = |reason: String| ColdError::new(&meta.path, reason);
        if tail.len() as u64 != meta.tail_bytes {
            return Err(error(format!("its tail has {} bytes instead of {}", tail.len(), meta.tail_bytes)));
        }
        if sha256(tail) != meta.tail_sha256 {
            return Err(error("its tail does not match its checksum".into()));
        }
        // From here on it is what was once written, so that these are errors of a writer.
        let parquet = read_footer(meta, tail).map_err(|reason| error(reason.to_string()))?;
        let parquet =
            ArrowReaderMetadata::try_new(Arc::new(parquet), options()).map_err(|reason| error(reason.to_string()))?;
        let key_value = |name: &str| {
            let all = parquet.metadata().file_metadata().key_value_metadata().into_iter().flatten();
            all.filter(|pair| pair.key == name).find_map(|pair| pair.value.as_deref())
        };
        if key_value("tamslake.table") != Some(meta.table.name()) {
            return Err(error(format!("it is no file of the table {}", meta.table.name())));
        }
        let keys = key_value(PAGE_KEYS).and_then(Keys::decode);
        let keys = keys.ok_or_else(|| error("the keys of its pages are missing or damaged".into()))?;
        let crcs = key_value(PAGE_CRCS).and_then(decode_crcs);
        let crcs = crcs.ok_or_else(|| error("the checksums of its pages are missing or damaged".into()))?;
        let ids = match meta.table {
            ColdTable::Objects => {
                let blocks = key_value(ID_BLOCKS);
                let ids = blocks.and_then(|text| IdBlocks::decode(text, meta.rows, meta.tail().start));
                ids.ok_or_else(|| error("the list of its ids is missing or damaged".into()))?
            }
            ColdTable::FlowSegments | ColdTable::References => IdBlocks::default(),
        };
        let groups = groups(parquet.metadata(), meta, tail, &crcs).map_err(error)?;
        let pages: usize = groups.iter().map(Group::pages).sum();
        if pages != keys.len() || pages == 0 || keys.get(0) != meta.first_key {
            return Err(error("the keys of its pages do not fit its pages".into()));
        }
        let rows: u64 = groups.iter().filter_map(|group| group.rows.last()).map(|rows| u64::from(*rows)).sum();
        if rows != meta.rows {
            return Err(error(format!("it has {rows} rows instead of {}", meta.rows)));
        }
        let parquet = forget_key_values(&parquet).map_err(|reason| error(reason.to_string()))?;
        Ok(Self { meta: meta.clone(), parquet, keys, groups, ids })
    }

    pub fn pages(&self) -> u32 {
        count(self.keys.len())
    }

    pub fn row_groups(&self) -> u32 {
        count(self.groups.len())
    }

    /// The row group that holds a page.
    pub fn row_group_of(&self, page: u32) -> u32 {
        count(self.groups.partition_point(|group| group.first_page <= page).saturating_sub(1))
    }

    /// The pages of a row group.
    pub fn pages_of(&self, row_group: u32) -> Range<u32> {
        match self.groups.get(row_group as usize) {
            Some(group) => group.first_page..group.first_page + count(group.pages()),
            None => self.pages()..self.pages(),
        }
    }

    pub fn first_key(&self, page: u32) -> &[u8] {
        self.keys.get(page as usize)
    }

    /// Pages that can hold keys in `from..to`: two pages may share a key at their border.
    pub fn pages_in(&self, from: &[u8], to: &[u8]) -> Range<u32> {
        let end = count(self.keys.partition_point(|first| first < to));
        if from >= to || self.meta.last_key.as_slice() < from {
            return end..end;
        }
        count(self.keys.partition_point(|first| first < from).saturating_sub(1))..end
    }

    /// Bytes of the file that [`FileIndex::decode_pages`] needs for these columns (all if `None`), in order.
    pub fn byte_ranges(&self, pages: Range<u32>, projection: Option<&[usize]>) -> Vec<Range<u64>> {
        let mut ranges: Vec<_> =
            pages.flat_map(|page| self.page_parts(page, projection)).map(|part| part.range).collect();
        ranges.sort_by_key(|range| (range.start, range.end));
        // Pages share a dictionary.
        ranges.dedup();
        merged(ranges)
    }

    /// The places in the file of these columns of the table, of those that it has.
    pub fn column_numbers(&self, wanted: impl Fn(&str) -> bool) -> Vec<usize> {
        let fields = self.parquet.schema().fields().iter().enumerate();
        fields.filter(|(_, field)| wanted(field.name())).map(|(number, _)| number).collect()
    }

    /// Blocks of the list of ids that may have the hash.
    pub fn id_blocks(&self, hash: i64) -> Range<u32> {
        self.ids.with(hash)
    }

    pub fn id_block_range(&self, block: u32) -> Range<u64> {
        self.ids.range(block)
    }

    pub fn checked_id_block(&self, block: u32, bytes: Bytes) -> Result<Bytes, ColdError> {
        if self.ids.is_whole(block, &bytes) {
            return Ok(bytes);
        }
        Err(self.error(format_args!("block {block} of the list of its ids does not match its checksum")))
    }

    /// Page, and row in it, of the Objects that a block has under the hash.
    pub fn rows_with(&self, block: &[u8], hash: i64) -> Vec<(u32, usize)> {
        rows_with(block, hash).filter_map(|row| self.page_of_row(row)).collect()
    }

    /// Page, and row in it, of a row of the file.
    pub fn page_of_row(&self, row: u64) -> Option<(u32, usize)> {
        let group = self.groups.get(self.groups.partition_point(|group| group.first_row <= row).checked_sub(1)?)?;
        let row = u32::try_from(row - group.first_row).ok()?;
        let within = group.rows.partition_point(|first| *first <= row).checked_sub(1)?;
        let first = *group.rows.get(within)?;
        Some((group.first_page + count(within), usize::try_from(row - first).ok()?))
    }

    /// The first row of a page, in the file.
    pub fn first_row(&self, page: u32) -> u64 {
        let Some((_, group, within)) = self.place(page) else { return self.meta.rows };
        group.first_row + group.rows.get(within).map_or(0, |row| u64::from(*row))
    }

    /// How many blocks the list of ids has.
    pub fn all_id_blocks(&self) -> u32 {
        self.ids.len()
    }

    /// Whether the Object's row may be in that page.
    pub fn page_might_hold_object(&self, page: u32, id: &ObjectId) -> bool {
        let group = self.groups.get(self.row_group_of(page) as usize);
        let bloom = group.and_then(|group| group.bloom.as_ref());
        bloom.is_none_or(|bloom| bloom.num_blocks() == 0 || bloom.check(id.as_str()))
    }

    /// Whether the file may hold this Object's row. True for files of other tables.
    pub fn might_hold_object(&self, id: &ObjectId) -> bool {
        if self.meta.table != ColdTable::Objects {
            return true;
        }
        let mut blooms = self.groups.iter().map(|group| group.bloom.as_ref());
        blooms.any(|bloom| bloom.is_none_or(|bloom| bloom.num_blocks() == 0 || bloom.check(id.as_str())))
    }

    /// The rows of pages of one row group. `bytes` must cover [`FileIndex::byte_ranges`]; columns are in the file's order.
    pub fn decode_pages(
        &self,
        pages: Range<u32>,
        projection: Option<&[usize]>,
        bytes: &[(Range<u64>, Bytes)],
    ) -> Result<RecordBatch, ColdError> {
        let mut batches = self.decode_batches(pages, projection, bytes, usize::MAX)?;
        match (batches.pop(), batches.first()) {
            (Some(batch), None) => Ok(batch),
            (Some(last), Some(first)) => {
                concat_batches(&first.schema(), batches.iter().chain([&last])).map_err(|error| self.error(error))
            }
            (None, _) => Err(self.error("a page has no rows")),
        }
    }

    /// The same as batches of at most so many rows.
    pub fn decode_batches(
        &self,
        pages: Range<u32>,
        projection: Option<&[usize]>,
        bytes: &[(Range<u64>, Bytes)],
        most: usize,
    ) -> Result<Vec<RecordBatch>, ColdError> {
        let first = self.place(pages.start);
        let last = pages.end.checked_sub(1).and_then(|last| self.place(last));
        let (row_group, group, from, to) = match (first, last) {
            (Some((row_group, group, from)), Some((same, _, to))) if same == row_group => (row_group, group, from, to),
            _ => return Err(self.error("it has no such pages in one row group")),
        };
        let rows = |at: usize| group.rows.get(at).map_or(0, |row| *row as usize);
        let (start, end) = (rows(from), rows(to + 1));
        let selection = RowSelection::from(vec![RowSelector::skip(start), RowSelector::select(end - start)]);
        let parts: Vec<Part> = pages.flat_map(|page| self.page_parts(page, projection)).collect();
        let fetched = self.checked(&parts, bytes)?;
        let rows = end - start;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(fetched, self.parquet.clone())
            .with_row_groups(vec![row_group])
            .with_projection(self.mask(projection))
            .with_row_selection(selection)
            .with_batch_size(rows.min(most));
        let reader = builder.build().map_err(|error| self.error(error))?;
        let batches = reader.collect::<Result<Vec<_>, _>>().map_err(|error| self.error(error))?;
        let decoded: usize = batches.iter().map(RecordBatch::num_rows).sum();
        if decoded != rows {
            return Err(self.error(format_args!("pages have {decoded} rows instead of {rows}")));
        }
        Ok(batches)
    }

    /// [`FileIndex::decode_pages`] with all columns, ready to be asked.
    pub fn page(&self, pages: Range<u32>, bytes: &[(Range<u64>, Bytes)]) -> Result<Page, ColdError> {
        Page::new(self.meta.table, self.decode_pages(pages, None, bytes)?, &self.meta.path)
    }

    /// Bytes of memory, about.
    pub fn memory_size(&self) -> usize {
        let groups = self.groups.iter().map(|group| {
            let bloom = group.bloom.as_ref().map_or(0, |bloom| bloom.num_blocks() * 32);
            size_of::<Group>() + (group.rows.capacity() + group.crcs.capacity()) * size_of::<u32>() + bloom
        });
        let keys = self.meta.path.len() + self.meta.first_key.len() + self.meta.last_key.len();
        let parquet = self.parquet.metadata().memory_size();
        size_of::<Self>() + parquet + self.keys.memory_size() + self.ids.memory_size() + groups.sum::<usize>() + keys
    }

    fn place(&self, page: u32) -> Option<(usize, &Group, usize)> {
        let row_group = self.row_group_of(page) as usize;
        let group = self.groups.get(row_group)?;
        let within = (page - group.first_page) as usize;
        (within < group.pages()).then_some((row_group, group, within))
    }

    fn mask(&self, projection: Option<&[usize]>) -> ProjectionMask {
        match projection {
            None => ProjectionMask::all(),
            Some(columns) => ProjectionMask::roots(self.parquet.parquet_schema(), columns.iter().copied()),
        }
    }

    fn columns(&self, projection: Option<&[usize]>) -> impl Iterator<Item = usize> {
        let mask = self.mask(projection);
        (0..self.parquet.parquet_schema().num_columns()).filter(move |column| mask.leaf_included(*column))
    }

    fn page_parts(&self, page: u32, projection: Option<&[usize]>) -> Vec<Part> {
        let Some((row_group, group, within)) = self.place(page) else { return Vec::new() };
        let parts = self.columns(projection).flat_map(|column| {
            let (dictionary, page) =
                page_ranges(self.parquet.metadata(), row_group, column, within).unwrap_or_default();
            let crc = |at: usize| group.crcs(column).get(at).copied().unwrap_or_default();
            [Part { range: dictionary, crc: crc(0) }, Part { range: page, crc: crc(within + 1) }]
        });
        parts.filter(|part| !part.range.is_empty()).collect()
    }

    /// Finds the parts among what was fetched, and holds each against its checksum.
    fn checked(&self, parts: &[Part], bytes: &[(Range<u64>, Bytes)]) -> Result<Fetched, ColdError> {
        let mut fetched = Fetched { bytes: self.meta.bytes, parts: bytes.to_vec() };
        fetched.parts.sort_by_key(|(range, _)| range.start);
        for part in parts {
            let Range { start, end } = part.range;
            let length = usize::try_from(end - start).map_err(|error| self.error(error))?;
            let page = fetched.find(start, length).map_err(|error| self.error(error))?;
            if crc32fast::hash(&page) != part.crc {
                return Err(self.error(format_args!("bytes {start} to {end} do not match their checksum")));
            }
        }
        Ok(fetched)
    }

    #[cfg(test)]
    pub fn print_columns(&self) {
        for column in 0..self.parquet.parquet_schema().num_columns() {
            let chunks = self.parquet.metadata().row_groups().iter().map(|group| group.column(column));
            let bytes: i64 = chunks.map(|chunk| chunk.compressed_size()).sum();
            let path = self.parquet.parquet_schema().column(column).path().string();
            println!("    {path:50} {:7.3}", bytes as f64 / self.meta.rows as f64);
        }
    }

    fn error(&self, reason: impl std::fmt::Display) -> ColdError {
        ColdError::new(&self.meta.path, reason)
    }
}

/// A page of one column.
struct Part {
    range: Range<u64>,
    crc: u32,
}

/// Parts of a file, by their place.
struct Fetched {
    bytes: u64,
    parts: Vec<(Range<u64>, Bytes)>,
}

impl Fetched {
    fn from(&self, start: u64) -> Option<Bytes> {
        let at = self.parts.partition_point(|(range, _)| range.start <= start).checked_sub(1)?;
        let (range, bytes) = self.parts.get(at)?;
        let skip = usize::try_from(start - range.start).ok()?;
        (skip <= bytes.len()).then(|| bytes.slice(skip..))
    }

    fn find(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        match self.from(start) {
            Some(bytes) if length <= bytes.len() => Ok(bytes.slice(..length)),
            _ => Err(ParquetError::EOF(format!("{length} bytes at {start} are missing"))),
        }
    }
}

impl Length for Fetched {
    fn len(&self) -> u64 {
        self.bytes
    }
}

impl ChunkReader for Fetched {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        let missing = || ParquetError::EOF(format!("the bytes at {start} are missing"));
        self.from(start).map(Buf::reader).ok_or_else(missing)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        self.find(start, length)
    }
}

fn options() -> ArrowReaderOptions {
    ArrowReaderOptions::new().with_skip_arrow_metadata(true)
}

/// What the file's footer says, with the statistics that other engines pass files over by.
pub fn statistics(meta: &FileMeta, tail: &Bytes) -> Result<ParquetMetaData, ColdError> {
    if sha256(tail) != meta.tail_sha256 {
        return Err(ColdError::new(&meta.path, "its tail does not match its checksum"));
    }
    let mut reader = ParquetMetaDataReader::new();
    let read = reader.try_parse_sized(tail, meta.bytes).and_then(|()| reader.finish());
    read.map_err(|error| ColdError::new(&meta.path, error))
}

fn read_footer(meta: &FileMeta, tail: &Bytes) -> Result<ParquetMetaData, ParquetError> {
    let lean = ParquetMetaDataOptions::new()
        .with_column_stats_policy(ParquetStatisticsPolicy::SkipAll)
        .with_encoding_stats_policy(ParquetStatisticsPolicy::SkipAll)
        .with_size_stats_policy(ParquetStatisticsPolicy::SkipAll);
    let mut reader = ParquetMetaDataReader::new()
        .with_column_index_policy(PageIndexPolicy::Skip)
        .with_offset_index_policy(PageIndexPolicy::Required)
        .with_metadata_options(Some(lean));
    reader.try_parse_sized(tail, meta.bytes)?;
    reader.finish()
}

/// Keys and checksums are kept in a better form.
fn forget_key_values(parquet: &ArrowReaderMetadata) -> Result<ArrowReaderMetadata, ParquetError> {
    let file = parquet.metadata().file_metadata();
    let file = parquet::file::metadata::FileMetaData::new(
        file.version(),
        file.num_rows(),
        None,
        None,
        file.schema_descr_ptr(),
        None,
    );
    let lean = parquet::file::metadata::ParquetMetaDataBuilder::new(file)
        .set_row_groups(parquet.metadata().row_groups().to_vec())
        .set_offset_index(parquet.metadata().offset_index().cloned())
        .build();
    ArrowReaderMetadata::try_new(Arc::new(lean), options())
}

fn groups(parquet: &ParquetMetaData, meta: &FileMeta, tail: &Bytes, crcs: &[u32]) -> Result<Vec<Group>, String> {
    let tail_start = meta.bytes.saturating_sub(meta.tail_bytes);
    let (mut groups, mut crcs, mut first_page, mut first_row) = (Vec::new(), crcs, 0, 0);
    for (number, row_group) in parquet.row_groups().iter().enumerate() {
        let mut rows = Vec::new();
        for column in 0..row_group.num_columns() {
            let unlike = || format!("pages of row group {number} are not what they should be");
            let ranges = chunk_ranges(parquet, number, column).ok_or_else(unlike)?;
            let ordered = ranges.iter().zip(ranges.iter().skip(1)).all(|(a, b)| a.end <= b.start);
            let inside = ranges.iter().all(|range| range.start <= range.end && range.end <= tail_start);
            let starts = page_rows(parquet, number, column).ok_or_else(unlike)?;
            if rows.is_empty() {
                rows = starts;
            } else if rows != starts {
                return Err(unlike());
            }
            if !ordered || !inside || !rows.is_sorted_by(|a, b| a < b) || rows.first() != Some(&0) {
                return Err(unlike());
            }
        }
        let each = rows.len() * row_group.num_columns();
        let (own, rest) = crcs.split_at_checked(each).ok_or("it has too few checksums of pages")?;
        crcs = rest;
        let bloom = bloom(parquet, number, tail_start, tail)?;
        let group = Group { first_page, first_row, rows, crcs: own.to_vec(), bloom };
        first_page += count(group.pages());
        first_row += group.rows.last().map_or(0, |rows| u64::from(*rows));
        groups.push(group);
    }
    if crcs.is_empty() { Ok(groups) } else { Err("it has too many checksums of pages".into()) }
}

fn bloom(parquet: &ParquetMetaData, group: usize, tail_start: u64, tail: &Bytes) -> Result<Option<Sbbf>, String> {
    for chunk in parquet.row_group(group).columns() {
        let (Some(start), Some(length)) = (chunk.bloom_filter_offset(), chunk.bloom_filter_length()) else { continue };
        let within = || {
            let start = usize::try_from(u64::try_from(start).ok()?.checked_sub(tail_start)?).ok()?;
            tail.get(start..start.checked_add(usize::try_from(length).ok()?)?)
        };
        let bytes = within().ok_or("a Bloom filter is outside of its tail")?;
        return Sbbf::from_bytes(bytes).map(Some).map_err(|error| error.to_string());
    }
    Ok(None)
}

/// The dictionary page's bytes, empty if there is none, then each data page's.
pub fn chunk_ranges(parquet: &ParquetMetaData, group: usize, column: usize) -> Option<Vec<Range<u64>>> {
    let pages = parquet.offset_index()?.get(group)?.get(column)?.page_locations();
    let first = u64::try_from(pages.first()?.offset).ok()?;
    let (start, _) = parquet.row_groups().get(group)?.columns().get(column)?.byte_range();
    let mut ranges = Vec::with_capacity(pages.len() + 1);
    ranges.push(start..first);
    for page in pages {
        let start = u64::try_from(page.offset).ok()?;
        ranges.push(start..start + u64::try_from(page.compressed_page_size).ok()?);
    }
    Some(ranges)
}

/// Bytes of the dictionary page, empty if there is none, and of one data page.
fn page_ranges(
    parquet: &ParquetMetaData,
    group: usize,
    column: usize,
    page: usize,
) -> Option<(Range<u64>, Range<u64>)> {
    let pages = parquet.offset_index()?.get(group)?.get(column)?.page_locations();
    let (start, _) = parquet.row_groups().get(group)?.columns().get(column)?.byte_range();
    let dictionary = start..u64::try_from(pages.first()?.offset).ok()?;
    let page = pages.get(page)?;
    let start = u64::try_from(page.offset).ok()?;
    Some((dictionary, start..start + u64::try_from(page.compressed_page_size).ok()?))
}

/// First rows of the pages, then the number of rows.
fn page_rows(parquet: &ParquetMetaData, group: usize, column: usize) -> Option<Vec<u32>> {
    let pages = parquet.offset_index()?.get(group)?.get(column)?.page_locations();
    let rows = parquet.row_groups().get(group)?.num_rows();
    pages.iter().map(|page| page.first_row_index).chain([rows]).map(|row| u32::try_from(row).ok()).collect()
}

fn merged(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_by_key(|range| range.start);
    ranges.dedup_by(|next, last| {
        let meet = last.end == next.start;
        if meet {
            last.end = next.end;
        }
        meet
    });
    ranges
}

/// Pages and row groups: a file has less than 2^32 of either.
fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
