//! Values of parameters: a row of Arrow, and JSON inside a handle.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use arrow::error::ArrowError;
use serde_json::Value;

use crate::query::{Param, Params};

/// Of one row, in the order of its columns.
pub fn row(batch: &RecordBatch) -> Result<Vec<(String, Value)>, ArrowError> {
    let columns = batch.schema_ref().fields().iter().zip(batch.columns());
    columns.map(|(field, column)| Ok((field.name().clone(), value(column)?))).collect()
}

fn value(column: &ArrayRef) -> Result<Value, ArrowError> {
    if column.is_empty() || column.is_null(0) || matches!(column.data_type(), DataType::Null) {
        return Ok(Value::Null);
    }
    let kind = column.data_type();
    let cast_to = |kind| cast(column, &kind);
    Ok(match kind {
        DataType::Boolean => Value::Bool(column.as_boolean().value(0)),
        kind if kind.is_integer() => {
            let number = cast_to(DataType::Int64)?;
            if number.is_null(0) {
                return Err(ArrowError::CastError("a parameter is larger than 64 bits with a sign".into()));
            }
            number.as_primitive::<Int64Type>().value(0).into()
        }
        kind if kind.is_floating() || kind.is_decimal() => {
            let number = cast_to(DataType::Float64)?.as_primitive::<Float64Type>().value(0);
            let number = serde_json::Number::from_f64(number);
            Value::Number(number.ok_or_else(|| ArrowError::CastError("a parameter is no finite number".into()))?)
        }
        _ => Value::String(cast_to(DataType::Utf8)?.as_string::<i32>().value(0).to_owned()),
    })
}

/// By number where the query says numbers, else by name.
pub fn params(values: &[(String, Value)], names: &[String]) -> Params {
    let by_number = names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    let params = values.iter().map(|(_, value)| param(value));
    if by_number {
        Params::Listed(params.collect())
    } else {
        // In the order in which they were told, where the client has names of its own.
        let own = values.iter().all(|(name, _)| names.contains(name));
        let names = values.iter().zip(names).map(|((name, _), told)| if own { name } else { told }.clone());
        Params::Named(names.zip(params).collect())
    }
}

fn param(value: &Value) -> Param {
    match value {
        Value::Bool(value) => Param::Bool(*value),
        Value::Number(number) => match number.as_i64() {
            Some(number) => Param::Int(number),
            None => number.as_f64().map_or(Param::Null, Param::Double),
        },
        Value::String(text) => Param::Text(text.clone()),
        Value::Null | Value::Array(_) | Value::Object(_) => Param::Null,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, Int32Array, StringArray, UInt64Array};

    use super::*;

    #[test]
    fn a_row_survives_its_handle() {
        let columns: [(&str, ArrayRef); 3] = [
            ("a", Arc::new(Int32Array::from(vec![-7]))),
            ("b", Arc::new(StringArray::from(vec!["x"]))),
            ("c", Arc::new(Float64Array::from(vec![1.0]))),
        ];
        let values = row(&RecordBatch::try_from_iter(columns).unwrap()).unwrap();
        let values = serde_json::from_str::<Vec<(String, Value)>>(&serde_json::to_string(&values).unwrap()).unwrap();
        let expected = [Param::Int(-7), Param::Text("x".into()), Param::Double(1.0)];
        let numbers = ["1".to_owned(), "2".into(), "3".into()];
        assert_eq!(params(&values, &numbers), Params::Listed(expected.to_vec()));
        let names = ["c".to_owned(), "b".into(), "a".into()];
        let Params::Named(named) = params(&values, &names) else { panic!("by name") };
        assert_eq!(named["a"], Param::Int(-7));
    }

    #[test]
    fn a_number_that_does_not_fit_is_refused() {
        let columns: [(&str, ArrayRef); 1] = [("a", Arc::new(UInt64Array::from(vec![u64::MAX])))];
        assert!(row(&RecordBatch::try_from_iter(columns).unwrap()).is_err());
    }
}
