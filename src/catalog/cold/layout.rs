//! How a table's columns are laid out in a file. `measure.rs` measures it.

use parquet::basic::{Compression, Encoding, Type as PhysicalType, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{BloomFilterPosition, EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::{ColumnPath, SchemaDescriptor};

use super::ColdTable;

/// How a text column is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text {
    /// Against the value before it: for sorted or repeated text.
    Delta,
    /// Lengths apart from the bytes: for text that shares nothing with its neighbours.
    Plain,
    /// Each value once in a row group: for few values in no order.
    Dictionary,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Layout {
    pub page_rows: usize,
    /// A multiple of `page_rows`.
    pub row_group_rows: usize,
    pub zstd: i32,
    /// Whether numbers, which are packed already, are compressed too, where that helps ([`is_squeezed`]).
    pub zstd_numbers: bool,
    /// Whether text that is written against the value before it is compressed too.
    pub zstd_repeated: bool,
    /// Whether dictionaries and the places in them are compressed: smaller, but slower for any page of the row group.
    pub zstd_dictionaries: bool,
    /// How ids of Flows are written where rows are not in their order.
    pub scattered_flows: Text,
    /// How ids of Objects are written where rows are not in their order.
    pub scattered_objects: Text,
    pub data_page_v2: bool,
}

impl Layout {
    pub fn of(table: ColdTable) -> Self {
        let layout = Self {
            page_rows: 1024,
            row_group_rows: 128 * 1024,
            zstd: 1,
            zstd_numbers: true,
            zstd_repeated: true,
            zstd_dictionaries: false,
            scattered_flows: Text::Dictionary,
            scattered_objects: Text::Plain,
            data_page_v2: false,
        };
        match table {
            ColdTable::FlowSegments => layout,
            // Its Bloom filter has just less than a power of two of bytes.
            ColdTable::Objects => Self { row_group_rows: 96 * 1024, ..layout },
            // Its dictionary of Flows, which any page needs, is worth more the more rows share it.
            ColdTable::References => Self { row_group_rows: 1024 * 1024, ..layout },
        }
    }

    pub fn properties(&self, table: ColdTable, columns: &SchemaDescriptor) -> Result<WriterProperties, ParquetError> {
        let zstd = Compression::ZSTD(ZstdLevel::try_new(self.zstd)?);
        let version = if self.data_page_v2 { WriterVersion::PARQUET_2_0 } else { WriterVersion::PARQUET_1_0 };
        let key_values = [("tamslake.table", table.name()), ("tamslake.version", table.version())];
        let mut builder = WriterProperties::builder()
            .set_writer_version(version)
            .set_created_by("tamslake".to_owned())
            .set_key_value_metadata(Some(key_values.map(|(k, v)| KeyValue::new(k.to_owned(), v.to_owned())).into()))
            .set_max_row_group_row_count(Some(self.row_group_rows))
            // One batch is one page of each column: no limit of bytes may cut it.
            .set_write_batch_size(self.page_rows)
            .set_data_page_row_count_limit(self.page_rows)
            .set_data_page_size_limit(1 << 30)
            .set_dictionary_page_size_limit(8 << 20)
            .set_dictionary_enabled(false)
            .set_statistics_enabled(EnabledStatistics::None)
            .set_bloom_filter_position(BloomFilterPosition::End)
            .set_sorting_columns(Some(sorting(table, columns)));
        for column in columns.columns() {
            let path = column.path().clone();
            let (text, compressed) = match column.physical_type() {
                PhysicalType::BYTE_ARRAY => {
                    let text = self.text(table, &path);
                    let compressed = match text {
                        // Making a decompressor for each column of each page costs as much as decoding it, so that only
                        // text in which there is something to squeeze has one.
                        Text::Plain => {
                            ["object_id", "id", "instances.list.element.url"].contains(&path.string().as_str())
                        }
                        // The same again and again, with here and there another.
                        Text::Delta => self.zstd_repeated,
                        Text::Dictionary => self.zstd_dictionaries,
                    };
                    (Some(text), compressed)
                }
                _ => (None, self.zstd_numbers && is_squeezed(table, &path)),
            };
            if text == Some(Text::Dictionary) {
                builder = builder.set_column_dictionary_enabled(path.clone(), true);
            }
            let encoding = match (column.physical_type(), text) {
                (PhysicalType::BYTE_ARRAY, Some(Text::Delta)) => Encoding::DELTA_BYTE_ARRAY,
                (PhysicalType::BYTE_ARRAY, _) => Encoding::DELTA_LENGTH_BYTE_ARRAY,
                (PhysicalType::BOOLEAN, _) => Encoding::RLE,
                // In no order, and few: packed differences would be as long as the numbers and never the same again.
                _ if table == ColdTable::References && path.string() == "start_nanoseconds" => Encoding::PLAIN,
                _ => Encoding::DELTA_BINARY_PACKED,
            };
            let compression = if compressed { zstd } else { Compression::UNCOMPRESSED };
            builder = builder.set_column_encoding(path.clone(), encoding);
            builder = builder.set_column_compression(path.clone(), compression);
            if is_pruned_by(table, &path) {
                builder = builder.set_column_statistics_enabled(path.clone(), EnabledStatistics::Chunk);
            }
            if table == ColdTable::Objects && path.string() == "id" {
                builder = builder.set_column_bloom_filter_enabled(path.clone(), true);
                builder = builder.set_column_bloom_filter_fpp(path, 0.01);
            }
        }
        Ok(builder.build())
    }

    fn text(&self, table: ColdTable, path: &ColumnPath) -> Text {
        match (table, path.string().as_str()) {
            (ColdTable::FlowSegments, "object_id") | (ColdTable::Objects, "id") => self.scattered_objects,
            (ColdTable::FlowSegments, _) | (ColdTable::Objects, "first_flow" | "init_object") => Text::Delta,
            (ColdTable::References, "flow_id") => self.scattered_flows,
            (_, "kind" | "content_type" | "instances.list.element.storage_id" | "instances.list.element.label") => {
                Text::Dictionary
            }
            _ => Text::Plain,
        }
    }
}

/// Columns of numbers that compression makes much smaller. Of times that go on regularly the packed differences repeat, and
/// so do those of LSNs in one request; the rest is as small as it gets, or hardly there.
fn is_squeezed(table: ColdTable, path: &ColumnPath) -> bool {
    let columns: &[&str] = match table {
        ColdTable::FlowSegments => &[
            "start_seconds",
            "start_nanoseconds",
            "end_seconds",
            "end_nanoseconds",
            "ts_offset_seconds",
            "ts_offset_nanoseconds",
            "object_start_seconds",
            "object_start_nanoseconds",
            "registered",
            "lsn_seq",
            "lsn_index",
        ],
        ColdTable::Objects => &[
            "start_seconds",
            "start_nanoseconds",
            "end_seconds",
            "end_nanoseconds",
            "created",
            "expires",
            "lsn_seq",
            "lsn_index",
        ],
        ColdTable::References => &["object_hash", "start_seconds", "start_nanoseconds"],
    };
    columns.contains(&path.string().as_str())
}

/// Columns whose smallest and largest value in a row group help other engines to pass it over.
fn is_pruned_by(table: ColdTable, path: &ColumnPath) -> bool {
    let columns: &[&str] = match table {
        ColdTable::FlowSegments => &["flow_id", "start_seconds", "end_seconds", "lsn_seq"],
        ColdTable::Objects => &["first_flow", "start_seconds", "lsn_seq"],
        ColdTable::References => &["object_hash", "lsn_seq"],
    };
    columns.contains(&path.string().as_str())
}

/// The table's sort order, as far as columns have it: LSNs come last.
fn sorting(table: ColdTable, columns: &SchemaDescriptor) -> Vec<SortingColumn> {
    let names: &[&str] = match table {
        ColdTable::FlowSegments => &["flow_id", "start_seconds", "start_nanoseconds", "start_inclusive"],
        // Init Objects come first, whatever their Flow.
        ColdTable::Objects => return Vec::new(),
        ColdTable::References => &["object_hash", "flow_id", "start_seconds", "start_nanoseconds", "start_inclusive"],
    };
    let place = |name: &str| columns.columns().iter().position(|column| column.path().string() == name);
    let sorting = |name: &&str| {
        let column_idx = i32::try_from(place(name)?).ok()?;
        // An inclusive start comes first.
        Some(SortingColumn { column_idx, descending: *name == "start_inclusive", nulls_first: false })
    };
    names.iter().chain(&["lsn_seq", "lsn_index"]).filter_map(sorting).collect()
}
