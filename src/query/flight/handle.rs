//! What a ticket or a prepared statement's handle carries: the query itself, the engine, the state, the parameters.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tonic::metadata::MetadataMap;
use tonic::{Request, Status};

use super::params::params;
use super::status::of_query;
use crate::query::{Engine, Question, as_of};

/// Which engine answers.
const ENGINE: &str = "tamslake-engine";
/// Which state is asked: an LSN, or a moment.
const AS_OF: &str = "tamslake-as-of";

/// JSON, so that a newer server may add to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Handle {
    pub sql: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<Engine>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<String>,
    /// Names of the placeholders without `$`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<(String, Value)>,
}

/// Who asks, and what their call's headers say.
pub struct Asks {
    pub caller: String,
    engine: Option<Engine>,
    as_of: Option<String>,
}

impl Asks {
    /// The place to find out who it is: each call comes by here.
    pub fn of<T>(request: &Request<T>) -> Result<Self, Status> {
        let caller = request.remote_addr().map(|address| address.ip().to_canonical().to_string()).unwrap_or_default();
        let headers = request.metadata();
        let engine = header(headers, ENGINE)?.map(|text| text.parse().map_err(Status::invalid_argument)).transpose()?;
        let as_of = header(headers, AS_OF)?.map(str::to_owned);
        if let Some(text) = &as_of {
            as_of::parse(text).map_err(of_query)?;
        }
        Ok(Self { caller, engine, as_of })
    }

    pub fn handle(&self, sql: String) -> Handle {
        Handle { sql, engine: self.engine, as_of: self.as_of.clone(), names: Vec::new(), values: Vec::new() }
    }
}

fn header<'a>(headers: &'a MetadataMap, name: &str) -> Result<Option<&'a str>, Status> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    value.to_str().map(Some).map_err(|_| Status::invalid_argument(format!("the header {name} is no plain text")))
}

impl Handle {
    pub fn write(&self) -> Result<Bytes, Status> {
        serde_json::to_vec(self).map(Bytes::from).map_err(super::status::internal)
    }

    pub fn read(bytes: &[u8]) -> Result<Self, Status> {
        serde_json::from_slice(bytes)
            .map_err(|error| Status::invalid_argument(format!("this is no ticket or handle of tamslake: {error}")))
    }

    /// What the ticket says goes before what the call says.
    pub fn question(&self, asks: &Asks) -> Result<Question, Status> {
        let as_of = self.as_of.as_ref().or(asks.as_of.as_ref());
        Ok(Question {
            params: params(&self.values, &self.names),
            engine: self.engine.or(asks.engine),
            as_of: as_of.map(|text| as_of::parse(text)).transpose().map_err(of_query)?,
            caller: asks.caller.clone(),
            ..Question::new(&self.sql)
        })
    }
}
