//! Failures as gRPC knows them.

use tonic::Status;

use crate::query::QueryError;

pub fn of_query(failed: QueryError) -> Status {
    let text = failed.to_string();
    match failed {
        QueryError::Wrong(_) | QueryError::TooLong { .. } | QueryError::Parameter { .. } | QueryError::Past(_) => {
            Status::invalid_argument(text)
        }
        QueryError::NotAQuery(_) => Status::permission_denied(text),
        QueryError::TimedOut(_) => Status::deadline_exceeded(text),
        QueryError::TooLarge(_) | QueryError::TooManyRows(_) => Status::resource_exhausted(text),
        QueryError::Busy | QueryError::Catalogue(_) => Status::unavailable(text),
        QueryError::Unreadable(_) => Status::data_loss(text),
        QueryError::Internal(_) => Status::internal(text),
    }
}

/// A write of any kind.
pub fn read_only() -> Status {
    Status::permission_denied("the catalogue can only be read here: change it with the TAMS API. Nothing was executed")
}

pub fn internal(error: impl std::fmt::Display) -> Status {
    Status::internal(format!("the answer could not be written: {error}"))
}
