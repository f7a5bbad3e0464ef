//! Why there is no export, or not all of it.

use std::path::PathBuf;

use crate::query::error::QueryError;

#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The request says something that cannot be: which key of it, and what to change.
    #[error("{key}: {reason}")]
    Wrong { key: &'static str, reason: String },
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error("there is no export {0}")]
    NotFound(String),
    #[error("export {id} is {state}: it has this when it is done")]
    NotDone { id: String, state: &'static str },
    #[error("{0} exports wait for their turn already (query.max_exports run at one time): try again later")]
    Busy(usize),
    #[error("{0} exports are kept already: remove some with DELETE /exports/{{id}}")]
    TooMany(usize),
    #[error("{0}")]
    NoSpace(String),
    #[error("the export falls into more than {0} partitions: partition it by something with fewer values")]
    TooManyPartitions(usize),
    #[error(
        "the export falls into more than {0} files: raise rows_per_file, or partition it by something with fewer values"
    )]
    TooManyFiles(usize),
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{file} of an earlier run cannot be read: {reason}. Remove the export and ask for it again")]
    Unreadable { file: PathBuf, reason: String },
    #[error("{0} holds another export: choose another folder, or empty it")]
    OtherExport(PathBuf),
    #[error("rows cannot be written down: {0}")]
    Encode(String),
    /// It was told to stop; what is written stays, to go on from.
    #[error("stopped")]
    Stopped,
}

impl ExportError {
    pub fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                Self::NoSpace(format!("no space is left at {}", path.display()))
            }
            _ => Self::Io { path, source },
        }
    }

    pub fn wrong(key: &'static str, reason: impl Into<String>) -> Self {
        Self::Wrong { key, reason: reason.into() }
    }
}

impl From<arrow::error::ArrowError> for ExportError {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::Encode(error.to_string())
    }
}

impl From<parquet::errors::ParquetError> for ExportError {
    fn from(error: parquet::errors::ParquetError) -> Self {
        match error {
            // The writer hides what the disk said in it.
            parquet::errors::ParquetError::External(cause) => match cause.downcast::<std::io::Error>() {
                Ok(error) => Self::io("the export", *error),
                Err(cause) => Self::Encode(cause.to_string()),
            },
            error => Self::Encode(error.to_string()),
        }
    }
}
