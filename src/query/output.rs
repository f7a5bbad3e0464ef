//! An answer as bytes, in the form that a client wants.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use arrow::json::writer::{LineDelimited, WriterBuilder};
use futures::stream::{self, BoxStream, StreamExt};
use serde_json::json;

use super::error::QueryError;
use super::sql::{Answer, AnswerBatches};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One object with `columns` and `rows`.
    Json,
    /// An object a line.
    JsonLines,
    Csv,
    /// A stream of Arrow's IPC format.
    Arrow,
}

impl Format {
    pub const ALL: [Self; 4] = [Self::Json, Self::JsonLines, Self::Csv, Self::Arrow];

    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::JsonLines => "jsonl",
            Self::Csv => "csv",
            Self::Arrow => "arrow",
        }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::JsonLines => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Arrow => "application/vnd.apache.arrow.stream",
        }
    }
}

pub type Bytes = BoxStream<'static, Result<Vec<u8>, QueryError>>;

/// What a client gets, piece by piece.
pub fn encode(answer: Answer, format: Format) -> Result<Bytes, QueryError> {
    let encoder = Encoder::new(&answer, format)?;
    Ok(pieces(answer.batches, encoder))
}

fn pieces(batches: AnswerBatches, encoder: Encoder) -> Bytes {
    let state = (batches, Some(encoder), true);
    stream::try_unfold(state, |(mut batches, encoder, first)| async move {
        let Some(mut encoder) = encoder else { return Ok(None) };
        if first {
            let head = encoder.head()?;
            return Ok(Some((head, (batches, Some(encoder), false))));
        }
        match batches.next().await.transpose()? {
            Some(batch) => {
                let piece = encoder.batch(&batch)?;
                Ok(Some((piece, (batches, Some(encoder), false))))
            }
            None => Ok(Some((encoder.tail()?, (batches, None, false)))),
        }
    })
    .filter(|piece| std::future::ready(!matches!(piece, Ok(bytes) if bytes.is_empty())))
    .boxed()
}

/// Makes pieces of one answer.
pub struct Encoder {
    format: Format,
    schema: SchemaRef,
    head: serde_json::Value,
    rows: u64,
    arrow: Option<StreamWriter<Vec<u8>>>,
}

impl Encoder {
    pub fn new(answer: &Answer, format: Format) -> Result<Self, QueryError> {
        let head = json!({ "lsn": answer.lsn, "engine": answer.engine.name(), "columns": columns(&answer.schema) });
        Self::of(answer.schema.clone(), format, head)
    }

    pub fn of(schema: SchemaRef, format: Format, head: serde_json::Value) -> Result<Self, QueryError> {
        let arrow = match format {
            Format::Arrow => Some(StreamWriter::try_new(Vec::new(), &schema).map_err(odd)?),
            _ => None,
        };
        Ok(Self { format, schema, head, rows: 0, arrow })
    }

    pub fn head(&mut self) -> Result<Vec<u8>, QueryError> {
        Ok(match self.format {
            Format::Json => {
                let mut head = self.head.to_string().into_bytes();
                // Its closing bracket comes at the end.
                head.pop();
                head.extend_from_slice(b",\"rows\":[");
                head
            }
            Format::JsonLines => Vec::new(),
            Format::Csv => {
                let mut head = Vec::new();
                let names: Vec<String> = self.schema.fields().iter().map(|field| csv_text(field.name())).collect();
                head.extend_from_slice(names.join(",").as_bytes());
                head.push(b'\n');
                head
            }
            Format::Arrow => self.written(),
        })
    }

    pub fn batch(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, QueryError> {
        let first = self.rows == 0;
        self.rows += batch.num_rows() as u64;
        if batch.num_rows() == 0 {
            return Ok(Vec::new());
        }
        match self.format {
            Format::Json => {
                let lines = json_lines(batch)?;
                let mut rows = Vec::with_capacity(lines.len() + 1);
                // Within a value a line's end is escaped.
                for (number, line) in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).enumerate() {
                    if !(first && number == 0) {
                        rows.push(b',');
                    }
                    rows.push(b'\n');
                    rows.extend_from_slice(line);
                }
                Ok(rows)
            }
            Format::JsonLines => json_lines(batch),
            Format::Csv => csv_rows(batch),
            Format::Arrow => {
                if let Some(writer) = &mut self.arrow {
                    writer.write(batch).map_err(odd)?;
                }
                Ok(self.written())
            }
        }
    }

    pub fn tail(&mut self) -> Result<Vec<u8>, QueryError> {
        Ok(match self.format {
            Format::Json => format!("\n],\"row_count\":{}}}\n", self.rows).into_bytes(),
            Format::JsonLines | Format::Csv => Vec::new(),
            Format::Arrow => {
                if let Some(writer) = &mut self.arrow {
                    writer.finish().map_err(odd)?;
                }
                self.written()
            }
        })
    }

    fn written(&mut self) -> Vec<u8> {
        self.arrow.as_mut().map(|writer| std::mem::take(writer.get_mut())).unwrap_or_default()
    }
}

/// Names and types, as `columns` of an answer in JSON.
pub fn columns(schema: &SchemaRef) -> serde_json::Value {
    schema.fields().iter().map(|field| json!({ "name": field.name(), "type": type_name(field.data_type()) })).collect()
}

/// Words for the types that both engines have.
pub fn type_name(kind: &DataType) -> String {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".into(),
        DataType::Boolean => "boolean".into(),
        kind if kind.is_integer() => "integer".into(),
        kind if kind.is_floating() => "number".into(),
        DataType::Decimal128(_, 0) | DataType::Decimal256(_, 0) => "integer".into(),
        DataType::Decimal128(..) | DataType::Decimal256(..) => "number".into(),
        DataType::Timestamp(..) => "time".into(),
        DataType::Date32 | DataType::Date64 => "date".into(),
        DataType::List(_) | DataType::LargeList(_) | DataType::ListView(_) => "list".into(),
        DataType::Map(..) => "map".into(),
        DataType::Struct(_) => "object".into(),
        DataType::Null => "null".into(),
        other => other.to_string(),
    }
}

/// One object a line; null is written.
pub fn json_lines(batch: &RecordBatch) -> Result<Vec<u8>, QueryError> {
    let mut bytes = Vec::new();
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(&mut bytes);
    writer.write(batch).map_err(odd)?;
    writer.finish().map_err(odd)?;
    drop(writer);
    Ok(bytes)
}

/// Text in its form of CSV (RFC 4180).
fn csv_text(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

/// Plain columns as CSV has them; nested ones as JSON.
fn csv_rows(batch: &RecordBatch) -> Result<Vec<u8>, QueryError> {
    let nested = batch.schema_ref().fields().iter().any(|field| field.data_type().is_nested());
    let mut bytes = Vec::new();
    if !nested {
        let mut writer = arrow::csv::WriterBuilder::new().with_header(false).build(&mut bytes);
        writer.write(batch).map_err(odd)?;
        drop(writer);
        return Ok(bytes);
    }
    let names: Vec<&String> = batch.schema_ref().fields().iter().map(|field| field.name()).collect();
    for line in json_lines(batch)?.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let row: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(line).map_err(odd_json)?;
        let cells = names.iter().map(|name| match row.get(*name) {
            None | Some(serde_json::Value::Null) => String::new(),
            Some(serde_json::Value::String(text)) => csv_text(text),
            Some(value) => csv_text(&value.to_string()),
        });
        let line = cells.collect::<Vec<_>>().join(",");
        // Writing to memory does not fail.
        let _ = bytes.write_all(line.as_bytes());
        bytes.push(b'\n');
    }
    Ok(bytes)
}

fn odd(error: ArrowError) -> QueryError {
    QueryError::Internal(format!("rows cannot be written down: {error}"))
}

fn odd_json(error: serde_json::Error) -> QueryError {
    QueryError::Internal(format!("rows cannot be written down: {error}"))
}

/// As a table for a terminal, whole.
pub fn table(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<String, QueryError> {
    let mut all = vec![RecordBatch::new_empty(schema.clone())];
    all.extend_from_slice(batches);
    Ok(arrow::util::pretty::pretty_format_batches(&all).map_err(odd)?.to_string())
}
