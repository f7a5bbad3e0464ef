//! The functions of TAMS for DataFusion, from the domain's own code. `queries/duckdb.sql` has the same for DuckDB; a test
//! compares them.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, BooleanBuilder, Decimal128Array, Int32Array, Int64Array, Int64Builder,
    StringBuilder, StructArray, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Fields, Int64Type, TimeUnit, TimestampMicrosecondType};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Signature, SimpleScalarUDF, Volatility, create_udf};
use datafusion::prelude::SessionContext;

use crate::domain::{Bound, TimeRange, Timestamp, UtcTime, leap_seconds};

const MICROS: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);
const NANOSECONDS: DataType = DataType::Decimal128(38, 0);

pub fn register(context: &SessionContext) {
    use DataType::{Boolean, Int64, Utf8};
    let define = |name: &str, takes: Vec<DataType>, gives: DataType, run: fn(&[ArrayRef]) -> Result<ArrayRef>| {
        let run = move |values: &[ColumnarValue]| by_rows(values, run);
        context.register_udf(create_udf(name, takes, gives, Volatility::Immutable, Arc::new(run)));
    };
    define("timestamp_text", vec![Int64, Int64], Utf8, timestamp_text);
    define("timerange_text", vec![Int64, Int64, Boolean, Int64, Int64, Boolean], Utf8, timerange_text);
    define("parse_timerange", vec![Utf8], DataType::Struct(timerange_fields()), parse_timerange);
    // OVERLAPS itself is an operator of SQL's grammar.
    define("timeranges_overlap", vec![Utf8, Utf8], Boolean, overlap);
    define("duration_ns", vec![Utf8], NANOSECONDS, duration_ns);
    define("tai_to_utc", vec![Int64, Int64], MICROS, tai_to_utc);
    // Of times of any unit, with a zone or without one.
    let any = Signature::any(1, Volatility::Immutable);
    let run = move |values: &[ColumnarValue]| by_rows(values, utc_to_tai_seconds);
    let udf = SimpleScalarUDF::new_with_signature("utc_to_tai_seconds", any, Int64, Arc::new(run));
    context.register_udf(ScalarUDF::from(udf));
}

/// One value for constants, so that what is made of them is one too.
fn by_rows(values: &[ColumnarValue], run: fn(&[ArrayRef]) -> Result<ArrayRef>) -> Result<ColumnarValue> {
    let constant = values.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
    let answer = run(&ColumnarValue::values_to_arrays(values)?)?;
    if constant {
        return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&answer, 0)?));
    }
    Ok(ColumnarValue::Array(answer))
}

/// A column of arguments, which DataFusion has made this type.
fn column(columns: &[ArrayRef], number: usize) -> Result<&ArrayRef> {
    columns.get(number).ok_or_else(|| DataFusionError::Execution("an argument is missing".into()))
}

fn int(columns: &[ArrayRef], number: usize) -> Result<&Int64Array> {
    let column = column(columns, number)?;
    column.as_primitive_opt::<Int64Type>().ok_or_else(|| DataFusionError::Execution("an argument is no number".into()))
}

fn truth(columns: &[ArrayRef], number: usize) -> Result<&BooleanArray> {
    let column = column(columns, number)?;
    column.as_boolean_opt().ok_or_else(|| DataFusionError::Execution("an argument is no truth value".into()))
}

/// What stands in each row, parsed; `None` for null and for what is no timerange.
fn timeranges(columns: &[ArrayRef], number: usize) -> Result<Vec<Option<TimeRange>>> {
    let column = cast(column(columns, number)?, &DataType::Utf8)?;
    let texts = column.as_string::<i32>();
    Ok(texts.iter().map(|text| text?.parse().ok()).collect())
}

/// Seconds, rounded down, and the nanoseconds above them; `None` outside of what TAMS allows.
fn time(seconds: i64, nanoseconds: i64) -> Option<Timestamp> {
    let whole = i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
    Timestamp::from_nanoseconds(whole)
}

fn get(column: &Int64Array, row: usize) -> Option<i64> {
    column.is_valid(row).then(|| column.value(row))
}

fn timestamp_text(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let (seconds, nanoseconds) = (int(columns, 0)?, int(columns, 1)?);
    let mut texts = StringBuilder::with_capacity(seconds.len(), seconds.len() * 20);
    for row in 0..seconds.len() {
        match get(seconds, row).zip(get(nanoseconds, row)).and_then(|(s, ns)| time(s, ns)) {
            Some(at) => append(&mut texts, at),
            None => texts.append_null(),
        }
    }
    Ok(Arc::new(texts.finish()))
}

fn append(texts: &mut StringBuilder, value: impl std::fmt::Display) {
    // Writing to memory does not fail.
    let _ = std::fmt::Write::write_fmt(texts, format_args!("{value}"));
    texts.append_value("");
}

fn timerange_text(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let (start_s, start_ns, start_in) = (int(columns, 0)?, int(columns, 1)?, truth(columns, 2)?);
    let (end_s, end_ns, end_in) = (int(columns, 3)?, int(columns, 4)?, truth(columns, 5)?);
    let mut texts = StringBuilder::with_capacity(start_s.len(), start_s.len() * 32);
    // A side without seconds is open; one that is no time makes the whole null.
    let bound = |seconds: &Int64Array, nanoseconds: &Int64Array, inclusive: &BooleanArray, row: usize| {
        let Some(seconds) = get(seconds, row) else { return Some(None) };
        let at = time(seconds, get(nanoseconds, row).unwrap_or(0))?;
        Some(Some(Bound { at, inclusive: inclusive.is_valid(row) && inclusive.value(row) }))
    };
    for row in 0..start_s.len() {
        match bound(start_s, start_ns, start_in, row).zip(bound(end_s, end_ns, end_in, row)) {
            Some((start, end)) => append(&mut texts, TimeRange::new(start, end)),
            None => texts.append_null(),
        }
    }
    Ok(Arc::new(texts.finish()))
}

fn timerange_fields() -> Fields {
    Fields::from(vec![
        Field::new("start_seconds", DataType::Int64, true),
        Field::new("start_nanoseconds", DataType::Int32, true),
        Field::new("start_inclusive", DataType::Boolean, true),
        Field::new("end_seconds", DataType::Int64, true),
        Field::new("end_nanoseconds", DataType::Int32, true),
        Field::new("end_inclusive", DataType::Boolean, true),
        Field::new("is_never", DataType::Boolean, true),
    ])
}

fn parse_timerange(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let ranges = timeranges(columns, 0)?;
    let side = |bound: fn(&TimeRange) -> Option<Bound>| -> [ArrayRef; 3] {
        let bounds: Vec<Option<Bound>> = ranges.iter().map(|range| range.as_ref().and_then(bound)).collect();
        let parts = |bound: &Option<Bound>| bound.map(|bound| bound.at.to_parts());
        [
            Arc::new(bounds.iter().map(|bound| parts(bound).map(|(seconds, _)| seconds)).collect::<Int64Array>()),
            Arc::new(bounds.iter().map(|bound| parts(bound).map(|(_, ns)| ns)).collect::<Int32Array>()),
            Arc::new(bounds.iter().map(|bound| bound.map(|bound| bound.inclusive)).collect::<BooleanArray>()),
        ]
    };
    // Never has no ends to tell.
    let start = side(|range| if range.is_never() { None } else { range.start() });
    let end = side(|range| if range.is_never() { None } else { range.end() });
    let never: BooleanArray = ranges.iter().map(|range| range.map(|range| range.is_never())).collect();
    let columns: Vec<ArrayRef> = start.into_iter().chain(end).chain([Arc::new(never) as ArrayRef]).collect();
    let nulls = ranges.iter().map(Option::is_some).collect::<Vec<_>>().into();
    Ok(Arc::new(StructArray::try_new(timerange_fields(), columns, Some(nulls))?))
}

fn overlap(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let (one, other) = (timeranges(columns, 0)?, timeranges(columns, 1)?);
    let mut answer = BooleanBuilder::with_capacity(one.len());
    for (one, other) in one.into_iter().zip(other) {
        answer.append_option(one.zip(other).map(|(one, other)| one.overlaps(&other)));
    }
    Ok(Arc::new(answer.finish()))
}

fn duration_ns(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let lengths = timeranges(columns, 0)?.into_iter().map(|range| range?.duration_nanoseconds());
    Ok(Arc::new(lengths.collect::<Decimal128Array>().with_precision_and_scale(38, 0)?))
}

fn tai_to_utc(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let (seconds, nanoseconds) = (int(columns, 0)?, int(columns, 1)?);
    let times = (0..seconds.len()).map(|row| {
        let (whole, above) = get(seconds, row).zip(get(nanoseconds, row))?;
        let utc = leap_seconds::utc_of_tai(whole)?;
        Some(utc * 1_000_000 + above.div_euclid(1_000))
    });
    Ok(Arc::new(times.collect::<TimestampMicrosecondArray>()))
}

fn utc_to_tai_seconds(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let times = cast(column(columns, 0)?, &MICROS)?;
    let times = times.as_primitive_opt::<TimestampMicrosecondType>();
    let times = times.ok_or_else(|| DataFusionError::Execution("an argument is no time".into()))?;
    let mut seconds = Int64Builder::with_capacity(times.len());
    for time in times {
        seconds.append_option(time.and_then(UtcTime::from_timestamp_micros).and_then(leap_seconds::tai_of_utc));
    }
    Ok(Arc::new(seconds.finish()))
}
