//! Rows and parameters between Arrow and PostgreSQL. What PostgreSQL has no plain type for is shown as text: nested values as
//! JSON.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::json::EncoderOptions;
use arrow::json::writer::make_encoder;
use arrow_pg::datatypes::{field_into_pg_type, into_pg_type};
use chrono::{DateTime, Days, NaiveDate, TimeDelta};
use pgwire::api::Type;
use pgwire::error::PgWireResult;

use super::errors::{UNSUPPORTED, WRONG_PARAMETER, error};
use crate::query::Param;

/// More digits than this do not fit into the numbers of the encoder.
const DIGITS: i8 = 28;

/// The columns as a client sees them.
pub fn shown(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| match shown_type(field.data_type()) {
        kind if kind == *field.data_type() => field.clone(),
        kind => Arc::new(Field::new(field.name(), kind, true)) as FieldRef,
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn shown_type(kind: &DataType) -> DataType {
    match kind {
        DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64
        | DataType::Float32
        | DataType::Float64
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::Date32
        | DataType::Time64(TimeUnit::Microsecond) => kind.clone(),
        DataType::Timestamp(_, None) => DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Timestamp(_, Some(_)) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        DataType::Decimal128(_, 0..=DIGITS) => kind.clone(),
        DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::Date64 => DataType::Date32,
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Microsecond),
        DataType::Dictionary(_, values) => shown_type(values),
        DataType::List(item) if is_plain_item(item.data_type()) => kind.clone(),
        _ => DataType::Utf8,
    }
}

fn is_plain_item(kind: &DataType) -> bool {
    matches!(
        kind,
        DataType::Boolean
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Float32
            | DataType::Float64
            | DataType::Utf8
            | DataType::Utf8View
    )
}

/// The rows of a batch with the columns of [`shown`].
pub fn convert(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter().zip(batch.schema_ref().fields()).zip(schema.fields());
    let columns = columns.map(|((column, field), shown)| {
        if column.data_type() == shown.data_type() {
            Ok(column.clone())
        } else if column.data_type().is_nested() {
            json(field, column)
        } else {
            cast(column, shown.data_type())
        }
    });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns.collect::<Result<_, _>>()?, &options)
}

fn json(field: &FieldRef, column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let options = EncoderOptions::default();
    let mut encoder = make_encoder(field, column, &options)?;
    let mut texts = StringBuilder::new();
    let mut text = Vec::new();
    for row in 0..column.len() {
        if encoder.is_null(row) {
            texts.append_null();
            continue;
        }
        text.clear();
        encoder.encode(row, &mut text);
        texts.append_value(String::from_utf8_lossy(&text));
    }
    Ok(Arc::new(texts.finish()))
}

/// Types of the columns of [`shown`].
pub fn column_types(schema: &Schema) -> PgWireResult<Vec<Type>> {
    schema.fields().iter().map(field_into_pg_type).collect()
}

/// What a client should send for a placeholder.
pub fn parameter_type(kind: Option<&DataType>) -> Type {
    // As PostgreSQL does where nothing tells.
    let Some(kind) = kind.filter(|kind| !matches!(kind, DataType::Null)) else { return Type::TEXT };
    match shown_type(kind) {
        DataType::List(_) => Type::TEXT,
        kind => into_pg_type(&kind).unwrap_or(Type::TEXT),
    }
}

pub fn parameter(number: usize, kind: &Type, binary: bool, value: Option<&[u8]>) -> PgWireResult<Param> {
    let Some(value) = value else { return Ok(Param::Null) };
    let read = if binary { from_binary(kind, value) } else { from_text(kind, value) };
    match read {
        Some(param) => Ok(param),
        None if binary && !is_known(kind) => Err(error(
            UNSUPPORTED,
            format!(
                "parameter ${number} has type {kind}, which is not taken: send it as text, or write IN ($1, $2) for a list"
            ),
        )),
        None => Err(error(WRONG_PARAMETER, format!("parameter ${number} is no {kind}"))),
    }
}

const TEXTS: [Type; 8] =
    [Type::TEXT, Type::VARCHAR, Type::BPCHAR, Type::NAME, Type::UNKNOWN, Type::JSON, Type::XML, Type::CHAR];
const OTHERS: [Type; 13] = [
    Type::BOOL,
    Type::INT2,
    Type::INT4,
    Type::INT8,
    Type::OID,
    Type::FLOAT4,
    Type::FLOAT8,
    Type::NUMERIC,
    Type::UUID,
    Type::TIMESTAMP,
    Type::TIMESTAMPTZ,
    Type::DATE,
    Type::JSONB,
];

fn is_known(kind: &Type) -> bool {
    TEXTS.contains(kind) || OTHERS.contains(kind)
}

fn from_text(kind: &Type, value: &[u8]) -> Option<Param> {
    let text = std::str::from_utf8(value).ok()?;
    match *kind {
        Type::BOOL => match text.trim().to_ascii_lowercase().as_str() {
            "t" | "true" | "1" | "on" | "yes" | "y" => Some(Param::Bool(true)),
            "f" | "false" | "0" | "off" | "no" | "n" => Some(Param::Bool(false)),
            _ => None,
        },
        Type::INT2 | Type::INT4 | Type::INT8 | Type::OID => text.trim().parse().ok().map(Param::Int),
        Type::FLOAT4 | Type::FLOAT8 => text.trim().parse().ok().map(Param::Double),
        Type::NUMERIC => number(text.trim()),
        _ => Some(Param::Text(text.to_owned())),
    }
}

fn number(text: &str) -> Option<Param> {
    text.parse().map(Param::Int).or_else(|_| text.parse().map(Param::Double)).ok()
}

fn from_binary(kind: &Type, value: &[u8]) -> Option<Param> {
    match *kind {
        Type::BOOL => value.first().map(|byte| Param::Bool(*byte != 0)),
        Type::INT2 => Some(Param::Int(i16::from_be_bytes(value.try_into().ok()?).into())),
        Type::INT4 => Some(Param::Int(i32::from_be_bytes(value.try_into().ok()?).into())),
        Type::INT8 => Some(Param::Int(i64::from_be_bytes(value.try_into().ok()?))),
        Type::OID => Some(Param::Int(u32::from_be_bytes(value.try_into().ok()?).into())),
        Type::FLOAT4 => Some(Param::Double(f32::from_be_bytes(value.try_into().ok()?).into())),
        Type::FLOAT8 => Some(Param::Double(f64::from_be_bytes(value.try_into().ok()?))),
        Type::NUMERIC => number(&numeric(value)?),
        Type::UUID => Some(Param::Text(uuid::Uuid::from_slice(value).ok()?.to_string())),
        Type::JSONB => Some(Param::Text(std::str::from_utf8(value.strip_prefix(&[1])?).ok()?.to_owned())),
        Type::TIMESTAMP | Type::TIMESTAMPTZ => {
            let micros = i64::from_be_bytes(value.try_into().ok()?);
            let at = DateTime::from_timestamp(EPOCH_SECONDS, 0)?.checked_add_signed(TimeDelta::microseconds(micros))?;
            Some(Param::Text(at.format("%Y-%m-%dT%H:%M:%S%.6f").to_string()))
        }
        Type::DATE => {
            let days = i32::from_be_bytes(value.try_into().ok()?);
            let epoch = NaiveDate::from_ymd_opt(2000, 1, 1)?;
            let by = Days::new(days.unsigned_abs().into());
            let date = if days < 0 { epoch.checked_sub_days(by) } else { epoch.checked_add_days(by) };
            Some(Param::Text(date?.to_string()))
        }
        _ if TEXTS.contains(kind) => Some(Param::Text(std::str::from_utf8(value).ok()?.to_owned())),
        _ => None,
    }
}

/// PostgreSQL's time begins in 2000.
const EPOCH_SECONDS: i64 = 946_684_800;

/// Groups of four decimal digits, written out.
fn numeric(value: &[u8]) -> Option<String> {
    let numbers = value.chunks_exact(2).filter_map(|pair| Some(i16::from_be_bytes(pair.try_into().ok()?)));
    let numbers: Vec<i16> = numbers.collect();
    let (&[_, weight, sign, _], groups) = numbers.split_first_chunk::<4>()?;
    // A hostile weight would make a long text.
    if !(-100..=100).contains(&weight) || groups.len() > 100 {
        return None;
    }
    let mut text = match sign {
        0 => "0".to_owned(),
        0x4000 => "-0".to_owned(),
        _ => return None,
    };
    let whole = usize::try_from(weight + 1).unwrap_or(0);
    let zeros = usize::try_from(-1 - weight).unwrap_or(0);
    let group = |at: usize| format!("{:04}", groups.get(at).copied().unwrap_or(0));
    text.extend((0..whole).map(group));
    if groups.len() > whole {
        text.push('.');
        text.push_str(&"0000".repeat(zeros));
        text.extend((whole..groups.len()).map(group));
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StructArray};

    use super::*;

    #[test]
    fn numbers_of_many_digits_are_read() {
        // As psycopg sends them: count, weight, sign, scale, groups.
        for (groups, number) in [
            (vec![1, 0, 0, 0, 7], Param::Int(7)),
            (vec![1, 1, 0, 0, 3], Param::Int(30_000)),
            (vec![2, 0, 0x4000, 2, 12, 3400], Param::Double(-12.34)),
            (vec![1, -1, 0, 2, 500], Param::Double(0.05)),
            (vec![1, -2, 0, 6, 12], Param::Double(0.000_000_12)),
            (vec![0, 0, 0, 0], Param::Int(0)),
        ] {
            let bytes: Vec<u8> = groups.iter().flat_map(|group: &i16| group.to_be_bytes()).collect();
            assert_eq!(parameter(1, &Type::NUMERIC, true, Some(&bytes)).unwrap(), number, "{groups:?}");
        }
    }

    #[test]
    fn values_of_the_wrong_kind_are_refused_by_number() {
        for (kind, binary, value) in [
            (Type::INT4, true, &b"123"[..]),
            (Type::INT8, false, b"x"),
            (Type::INT4_ARRAY, true, b"1234"),
            (Type::UUID, true, b"1"),
        ] {
            assert!(parameter(3, &kind, binary, Some(value)).unwrap_err().to_string().contains("$3"), "{kind}");
        }
        let moment = parameter(1, &Type::TIMESTAMPTZ, true, Some(&86_400_000_000_i64.to_be_bytes())).unwrap();
        assert_eq!(moment, Param::Text("2000-01-02T00:00:00.000000".into()));
    }

    #[test]
    fn nested_values_are_shown_as_json() {
        let field = Arc::new(Field::new("a", DataType::Int64, true));
        let inner: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
        let column: ArrayRef = Arc::new(StructArray::from(vec![(field, inner)]));
        let batch = RecordBatch::try_from_iter([("pair", column)]).unwrap();
        let schema = shown(batch.schema_ref());
        assert_eq!(schema.field(0).data_type(), &DataType::Utf8);
        let shown = convert(&batch, &schema).unwrap();
        assert_eq!(arrow::util::display::array_value_to_string(shown.column(0), 0).unwrap(), r#"{"a":1}"#);
    }
}
