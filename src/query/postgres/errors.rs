//! Failures as PostgreSQL's clients know them: with a code of five letters.

use pgwire::error::{ErrorInfo, PgWireError};

use super::statement::Refused;
use crate::query::QueryError;

pub const CANCELLED: &str = "57014";
pub const SHUTTING_DOWN: &str = "57P01";
pub const PROTOCOL: &str = "08P01";
pub const TOO_MANY_CONNECTIONS: &str = "53300";
pub const LIMIT: &str = "53400";
pub const WRONG_PARAMETER: &str = "22023";
pub const UNSUPPORTED: &str = "0A000";
pub const NO_SUCH_SETTING: &str = "42704";
pub const NO_SUCH_PARAMETER: &str = "42P02";
const READ_ONLY: &str = "25006";
const INTERNAL: &str = "XX000";

pub fn error(code: &str, message: impl Into<String>) -> PgWireError {
    PgWireError::UserError(Box::new(ErrorInfo::new("ERROR".into(), code.into(), message.into())))
}

/// Ends the connection.
pub fn fatal(code: &str, message: impl Into<String>) -> PgWireError {
    PgWireError::UserError(Box::new(ErrorInfo::new("FATAL".into(), code.into(), message.into())))
}

pub fn of_query(failed: QueryError) -> PgWireError {
    let code = match &failed {
        QueryError::Wrong(text) => wrong(text),
        QueryError::NotAQuery(_) => READ_ONLY,
        QueryError::TooLong { .. } | QueryError::TooManyRows(_) => "54000",
        QueryError::Parameter { .. } | QueryError::Past(_) => WRONG_PARAMETER,
        QueryError::TimedOut(_) => CANCELLED,
        QueryError::TooLarge(_) => "53200",
        QueryError::Busy => TOO_MANY_CONNECTIONS,
        QueryError::Unreadable(_) => "58030",
        QueryError::Internal(_) | QueryError::Catalogue(_) => INTERNAL,
    };
    error(code, failed.to_string())
}

pub fn refused(refused: &Refused) -> PgWireError {
    match refused {
        Refused::Write(word) => error(
            READ_ONLY,
            format!(
                "{word}: the catalogue can only be read here. Change it with the TAMS API; nothing of this was executed"
            ),
        ),
        Refused::Unsupported(word) => error(
            UNSUPPORTED,
            format!(
                "{word} is not supported: send the query itself. Rows are streamed, and prepared statements of the protocol work"
            ),
        ),
        Refused::Setting(name) => error(
            "42501",
            format!(
                "{name} cannot be set by a client: settings of queries stand in the server's configuration, under [query]"
            ),
        ),
    }
}

/// By the engine's words: it has no codes.
fn wrong(text: &str) -> &'static str {
    let text = text.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if says(&["parsererror", "tokenizererror", "sql error"]) {
        "42601"
    } else if text.contains("table") && text.contains("not found") {
        "42P01"
    } else if says(&["no field named", "column not found"]) {
        "42703"
    } else if text.contains("ambiguous reference") {
        "42702"
    } else if says(&["invalid function", "failed to coerce arguments", "no function matches"]) {
        "42883"
    } else if text.contains("divide by zero") {
        "22012"
    } else if says(&["cast error", "cannot cast", "parser error"]) {
        "22P02"
    } else if text.contains("overflow") {
        "22003"
    } else if says(&["placeholder", "parameter"]) {
        NO_SUCH_PARAMETER
    } else if says(&["not implemented", "unsupported"]) {
        UNSUPPORTED
    } else {
        "42601"
    }
}
