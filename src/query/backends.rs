//! Rows of `storage_backends`: they come from the configuration, not from the catalogue.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

#[derive(Debug, Clone, Default)]
pub struct Backend {
    /// UUID.
    pub id: String,
    pub label: Option<String>,
    pub provider: Option<String>,
    pub region: Option<String>,
    pub product: Option<String>,
    pub is_default: bool,
    /// Bytes that it can hold in all, and more; unknown of most buckets.
    pub capacity_bytes: Option<u64>,
    pub free_bytes: Option<u64>,
}

pub fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Utf8, false),
        Field::new("label", DataType::Utf8, true),
        Field::new("provider", DataType::Utf8, true),
        Field::new("region", DataType::Utf8, true),
        Field::new("product", DataType::Utf8, true),
        Field::new("is_default", DataType::Boolean, false),
        Field::new("capacity_bytes", DataType::Int64, true),
        Field::new("free_bytes", DataType::Int64, true),
    ]))
}

pub fn rows(backends: &[Backend]) -> RecordBatch {
    let text =
        |of: fn(&Backend) -> Option<&str>| -> ArrayRef { Arc::new(backends.iter().map(of).collect::<StringArray>()) };
    let bytes = |of: fn(&Backend) -> Option<u64>| -> ArrayRef {
        Arc::new(backends.iter().map(|b| of(b).and_then(|bytes| i64::try_from(bytes).ok())).collect::<Int64Array>())
    };
    let columns: Vec<ArrayRef> = vec![
        text(|backend| Some(&backend.id)),
        text(|backend| backend.label.as_deref()),
        text(|backend| backend.provider.as_deref()),
        text(|backend| backend.region.as_deref()),
        text(|backend| backend.product.as_deref()),
        Arc::new(backends.iter().map(|backend| Some(backend.is_default)).collect::<BooleanArray>()),
        bytes(|backend| backend.capacity_bytes),
        bytes(|backend| backend.free_bytes),
    ];
    // The columns are those of the schema.
    RecordBatch::try_new(schema(), columns).unwrap_or_else(|_| RecordBatch::new_empty(schema()))
}
