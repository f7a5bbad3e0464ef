//! Small talk of drivers: settings, transactions, prepared statements. All of it is answered without a query, and changes
//! nothing but the connection.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::{Sink, SinkExt};
use pgwire::api::portal::Format;
use pgwire::api::results::{DataRowEncoder, FieldFormat, FieldInfo, QueryResponse, Response, Tag};
use pgwire::api::store::PortalStore;
use pgwire::api::{ClientInfo, ClientPortalStore, Type};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::response::TransactionStatus;
use pgwire::messages::startup::ParameterStatus;

use super::errors::{LIMIT, NO_SUCH_SETTING, UNSUPPORTED, WRONG_PARAMETER, error};
use super::front::session;
use super::statement::Talk;
use crate::query::datafusion::default_setting;

/// Told at the beginning, and when they change.
pub const REPORTED: [&str; 14] = [
    "server_version",
    "server_encoding",
    "client_encoding",
    "application_name",
    "default_transaction_read_only",
    "in_hot_standby",
    "integer_datetimes",
    "is_superuser",
    "session_authorization",
    "standard_conforming_strings",
    "DateStyle",
    "IntervalStyle",
    "TimeZone",
    "search_path",
];

/// Settings of one connection: its own, and those of a library.
const MAX_SETTINGS: usize = 100;
const MAX_SETTING_BYTES: usize = 1_000;

/// As the client has set it, or as it is without.
pub fn setting(settings: &HashMap<String, String>, name: &str) -> Option<String> {
    // What the client says when it connects names the same things.
    let own = match name {
        "session_authorization" => settings.get("user"),
        _ => settings.get(name),
    };
    own.cloned().or_else(|| default_setting(name).map(str::to_owned))
}

/// Which a client may set for itself, and which the server's own is the upper bound of.
pub fn statement_timeout(settings: &HashMap<String, String>) -> Option<Duration> {
    duration(settings.get("statement_timeout")?).filter(|timeout| !timeout.is_zero())
}

/// Milliseconds, where no unit is said.
fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let millis = match unit.trim() {
        "" | "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.parse::<u64>().ok()?.checked_mul(millis)?))
}

pub async fn answer<C>(client: &mut C, talk: &Talk, format: &Format) -> PgWireResult<Response>
where
    C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
    C::PortalStore: PortalStore,
    C::Error: Debug,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    match talk {
        Talk::Set { name, value } => {
            set(client, name, value).await?;
            Ok(Response::Execution(Tag::new("SET")))
        }
        Talk::Reset(name) => {
            if !PROTECTED.contains(&name.as_str()) {
                client.metadata_mut().remove(name);
            }
            report(client, name).await?;
            Ok(Response::Execution(Tag::new("RESET")))
        }
        Talk::Show(name) => show(client, name, format).map(Response::Query),
        Talk::Begin => Ok(Response::TransactionStart(Tag::new("BEGIN"))),
        Talk::Commit if matches!(client.transaction_status(), TransactionStatus::Error) => {
            Ok(Response::TransactionEnd(Tag::new("ROLLBACK")))
        }
        Talk::Commit => Ok(Response::TransactionEnd(Tag::new("COMMIT"))),
        Talk::Rollback => Ok(Response::TransactionEnd(Tag::new("ROLLBACK"))),
        Talk::Deallocate(Some(name)) => {
            client.portal_store().rm_statement(name);
            session(client)?.forget(|kept| kept.strip_prefix('S') == Some(name));
            Ok(Response::Execution(Tag::new("DEALLOCATE")))
        }
        // Names of all are not known here: they go with the connection, and a new one takes the place of the old.
        Talk::Deallocate(None) => Ok(Response::Execution(Tag::new("DEALLOCATE ALL"))),
        Talk::Done(tag) => Ok(Response::Execution(Tag::new(tag))),
    }
}

/// They say who is connected.
const PROTECTED: [&str; 4] = ["user", "database", "session_authorization", "replication"];

async fn set<C>(client: &mut C, name: &str, value: &str) -> PgWireResult<()>
where
    C: ClientInfo + Sink<PgWireBackendMessage> + Unpin,
    C::Error: Debug,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    if PROTECTED.contains(&name) {
        return Err(error(UNSUPPORTED, format!("{name} cannot be set: connect again with another one")));
    }
    if name == "client_encoding" && !["UTF8", "UTF-8", "UNICODE"].contains(&value.to_ascii_uppercase().as_str()) {
        return Err(error(UNSUPPORTED, "texts are sent in UTF8 only: SET client_encoding TO 'UTF8'"));
    }
    if name == "statement_timeout" && duration(value).is_none() {
        return Err(error(WRONG_PARAMETER, "a statement_timeout is written like 5000, in milliseconds, or like '5s'"));
    }
    let settings = client.metadata_mut();
    if value.eq_ignore_ascii_case("default") {
        settings.remove(name);
    } else if name.len() + value.len() > MAX_SETTING_BYTES
        || (settings.len() >= MAX_SETTINGS && !settings.contains_key(name))
    {
        return Err(error(
            LIMIT,
            format!("a connection may have {MAX_SETTINGS} settings of {MAX_SETTING_BYTES} bytes"),
        ));
    } else {
        settings.insert(name.to_owned(), value.to_owned());
    }
    report(client, name).await
}

async fn report<C>(client: &mut C, name: &str) -> PgWireResult<()>
where
    C: ClientInfo + Sink<PgWireBackendMessage> + Unpin,
    C::Error: Debug,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    let Some(shown) = REPORTED.into_iter().find(|reported| reported.eq_ignore_ascii_case(name)) else { return Ok(()) };
    let value = setting(client.metadata(), name).unwrap_or_default();
    client.feed(PgWireBackendMessage::ParameterStatus(ParameterStatus::new(shown.to_owned(), value))).await?;
    Ok(())
}

/// The column of an answer to `SHOW`.
pub fn shown(name: &str, format: &Format) -> FieldInfo {
    let format = if format.is_binary(0) { FieldFormat::Binary } else { FieldFormat::Text };
    FieldInfo::new(name.to_owned(), None, None, Type::TEXT, format)
}

fn show<C: ClientInfo>(client: &C, name: &str, format: &Format) -> PgWireResult<QueryResponse> {
    let value = setting(client.metadata(), name).ok_or_else(|| {
        error(NO_SUCH_SETTING, format!("there is no setting {name:?}; SHOW TABLES lists what can be asked"))
    })?;
    let fields = Arc::new(vec![shown(name, format)]);
    let mut row = DataRowEncoder::new(fields.clone());
    row.encode_field(&value)?;
    let row = row.take_row();
    let mut response = QueryResponse::new(fields, futures::stream::iter([Ok(row)]));
    response.set_command_tag("SHOW");
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_may_have_a_unit() {
        for (text, millis) in [("250", 250), ("5s", 5_000), ("2 min", 120_000), ("1d", 86_400_000)] {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "x", "5 years", "-1", "99999999999999999999"] {
            assert_eq!(duration(text), None, "{text}");
        }
        let none = HashMap::from([("statement_timeout".to_owned(), "0".to_owned())]);
        assert_eq!(statement_timeout(&none), None);
    }
}
