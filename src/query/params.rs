//! Values for the placeholders of a query: `$1`, `$2` ... or `$name`.

use std::collections::BTreeMap;

use datafusion::common::metadata::ScalarAndMetadata;
use datafusion::common::{ParamValues, ScalarValue};

#[derive(Debug, Clone, PartialEq)]
pub enum Param {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(String),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Params {
    /// For `$1` and on.
    Listed(Vec<Param>),
    Named(BTreeMap<String, Param>),
}

impl Default for Params {
    fn default() -> Self {
        Self::Listed(Vec::new())
    }
}

impl Params {
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Listed(values) => values.is_empty(),
            Self::Named(values) => values.is_empty(),
        }
    }

    /// By name without `$`, or by number as DuckDB says them.
    pub fn get(&self, name: &str) -> Option<&Param> {
        match self {
            Self::Listed(values) => values.get(name.parse::<usize>().ok()?.checked_sub(1)?),
            Self::Named(values) => values.get(name),
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Self::Listed(values) => values.len(),
            Self::Named(values) => values.len(),
        }
    }
}

impl From<&Param> for ScalarValue {
    fn from(param: &Param) -> Self {
        match param {
            Param::Null => Self::Null,
            Param::Bool(value) => Self::Boolean(Some(*value)),
            Param::Int(value) => Self::Int64(Some(*value)),
            Param::Double(value) => Self::Float64(Some(*value)),
            Param::Text(value) => Self::Utf8(Some(value.clone())),
        }
    }
}

impl From<&Params> for ParamValues {
    fn from(params: &Params) -> Self {
        let value = |param: &Param| ScalarAndMetadata::from(ScalarValue::from(param));
        match params {
            Params::Listed(values) => Self::List(values.iter().map(value).collect()),
            Params::Named(values) => {
                Self::Map(values.iter().map(|(name, param)| (name.clone(), value(param))).collect())
            }
        }
    }
}
