//! Why a query got no answer, or not all of it.

use std::time::Duration;

use datafusion::error::DataFusionError;

use super::duckdb::DuckError;
use crate::catalog::{CommitError, PastError, ReadError};

#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// It is no SQL, names what is not there, or divides by zero: the engine's words.
    #[error("{0}")]
    Wrong(String),
    /// It would do more than read.
    #[error("only queries are taken, one at a time: {0}")]
    NotAQuery(String),
    #[error("the query is {bytes} bytes long, and {limit} are taken (query.max_sql)")]
    TooLong { bytes: usize, limit: usize },
    #[error("parameter {name}: {reason}")]
    Parameter { name: String, reason: String },
    #[error(transparent)]
    Past(#[from] PastError),
    #[error("the query took longer than {} (query.timeout): ask for less, or export it", humantime::format_duration(*.0))]
    TimedOut(Duration),
    /// What it keeps at one time, in memory or on disk.
    #[error(
        "the query needs more memory or scratch space than it may have (query.memory, query.scratch): ask for less, or try the other engine. {0}"
    )]
    TooLarge(String),
    #[error("the answer has more than {0} rows (query.max_rows): add a LIMIT, or export it")]
    TooManyRows(u64),
    #[error("as many queries as may run at one time are running, of everybody's or of yours: try again")]
    Busy,
    /// Nothing is wrong with the query.
    #[error("a row or a file of the catalogue cannot be read: {0}")]
    Unreadable(String),
    #[error("the query failed inside: {0}")]
    Internal(String),
    #[error(transparent)]
    Catalogue(#[from] CommitError),
}

impl From<DataFusionError> for QueryError {
    fn from(error: DataFusionError) -> Self {
        let text = error.strip_backtrace();
        match error.find_root() {
            DataFusionError::External(cause) if cause.is::<ReadError>() => Self::Unreadable(cause.to_string()),
            DataFusionError::ResourcesExhausted(_) => Self::TooLarge(text),
            // Scratch space has no kind of its own.
            _ if text.contains("max_temp_directory_size") => Self::TooLarge(text),
            DataFusionError::Internal(_) | DataFusionError::IoError(_) => Self::Internal(text),
            _ => Self::Wrong(text),
        }
    }
}

impl From<DuckError> for QueryError {
    fn from(error: DuckError) -> Self {
        match error {
            DuckError::Duck(text) if text.contains("Out of Memory Error") => Self::TooLarge(text),
            DuckError::Duck(text) if text.contains("INTERNAL Error") => Self::Internal(text),
            DuckError::Duck(text) if text.contains("IO Error") => Self::Unreadable(text),
            DuckError::Duck(text) => Self::Wrong(text),
            DuckError::NotOneSelect | DuckError::TableFunction(_) | DuckError::File(_) => {
                Self::NotAQuery(error.to_string())
            }
            DuckError::Parameter { name, reason } => Self::Parameter { name, reason },
            DuckError::Read(error) => Self::Unreadable(error.to_string()),
            error => Self::Internal(error.to_string()),
        }
    }
}
