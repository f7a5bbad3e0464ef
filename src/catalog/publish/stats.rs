//! Least and greatest values of a file's columns, from which readers see that they need not open it.

use arrow::datatypes::{DataType, Schema};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::statistics::Statistics;
use serde_json::{Value, json};

/// Longer texts are no help in skipping files, and every reader loads them.
const TEXT_BYTES: usize = 256;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnStats {
    pub column: String,
    /// No value is less; not necessarily one that is there.
    pub min: Option<StatValue>,
    /// No value is greater.
    pub max: Option<StatValue>,
    pub nulls: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum StatValue {
    Int(i64),
    Text(String),
}

impl StatValue {
    pub(super) fn json(&self) -> Value {
        match self {
            Self::Int(value) => json!(value),
            Self::Text(value) => json!(value),
        }
    }
}

/// Of the columns of whole numbers and texts, what all row groups tell.
pub fn parquet_stats(schema: &Schema, metadata: &ParquetMetaData) -> Vec<ColumnStats> {
    let columns = metadata.file_metadata().schema_descr().columns();
    let wanted = columns.iter().enumerate().filter_map(|(index, column)| {
        let field = schema.field_with_name(column.name()).ok().filter(|_| column.path().parts().len() == 1)?;
        matches!(field.data_type(), DataType::Int32 | DataType::Int64 | DataType::Utf8).then_some((index, field.name()))
    });
    wanted
        .map(|(index, name)| {
            let groups: Vec<Option<&Statistics>> =
                metadata.row_groups().iter().map(|group| group.column(index).statistics()).collect();
            ColumnStats {
                column: name.clone(),
                min: bound(&groups, least, Ord::min),
                max: bound(&groups, greatest, Ord::max),
                nulls: groups.iter().map(|group| group.and_then(Statistics::null_count_opt)).sum(),
            }
        })
        .filter(|stats| stats.min.is_some() || stats.max.is_some() || stats.nulls.is_some())
        .collect()
}

/// `None` as soon as one row group does not tell.
fn bound(
    groups: &[Option<&Statistics>],
    read: fn(&Statistics) -> Option<StatValue>,
    pick: fn(StatValue, StatValue) -> StatValue,
) -> Option<StatValue> {
    let values: Option<Vec<StatValue>> = groups.iter().map(|group| group.and_then(read)).collect();
    values?.into_iter().reduce(pick)
}

fn least(statistics: &Statistics) -> Option<StatValue> {
    match statistics {
        Statistics::Int32(values) => values.min_opt().map(|value| StatValue::Int(i64::from(*value))),
        Statistics::Int64(values) => values.min_opt().map(|value| StatValue::Int(*value)),
        Statistics::ByteArray(values) => values.min_opt().and_then(|value| text(value.data())),
        _ => None,
    }
}

fn greatest(statistics: &Statistics) -> Option<StatValue> {
    match statistics {
        Statistics::Int32(values) => values.max_opt().map(|value| StatValue::Int(i64::from(*value))),
        Statistics::Int64(values) => values.max_opt().map(|value| StatValue::Int(*value)),
        Statistics::ByteArray(values) => values.max_opt().and_then(|value| text(value.data())),
        _ => None,
    }
}

fn text(bytes: &[u8]) -> Option<StatValue> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= TEXT_BYTES)?;
    Some(StatValue::Text(text.to_owned()))
}
