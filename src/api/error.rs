//! Failures as clients see them: the one body of all errors, and the only place that turns a refusal or a failure into
//! a status. A new variant of an error below does not compile until somebody picks its status here.
//!
//! 4xx say what to change. 5xx say nothing of the inside: their cause is logged once, under the request id in the body.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

use poem::error::ResponseError;
use poem::http::{HeaderName, HeaderValue, StatusCode, header};
use poem_openapi::ApiResponse;
use poem_openapi::payload::Payload;
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaResponses, MetaSchema, Registry};
use poem_openapi::types::Type;
use serde::Serialize;

use super::json::JsonReply;
use super::wire::Time;
use super::wire::shape::inline;

/// Something that a client did wrong or that failed here, with the status it gets.
pub struct ApiError(Box<Parts>);

struct Parts {
    status: StatusCode,
    kind: &'static str,
    summary: String,
    details: Vec<Detail>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// For the log only.
    cause: Option<Box<dyn StdError + Send + Sync>>,
}

impl ApiError {
    pub fn new(status: StatusCode, kind: &'static str, summary: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            status,
            kind,
            summary: summary.into(),
            details: Vec::new(),
            headers: Vec::new(),
            cause: None,
        }))
    }

    pub fn bad_request(kind: &'static str, summary: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, kind, summary)
    }

    pub fn not_found(summary: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", summary)
    }

    /// A failure of this server. `summary` is for the client, `cause` for the log.
    pub fn failure(
        status: StatusCode,
        kind: &'static str,
        summary: &str,
        cause: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        let mut error = Self::new(status, kind, summary);
        error.0.cause = Some(cause.into());
        error
    }

    pub fn retry_after(self, seconds: u32) -> Self {
        self.with_header(header::RETRY_AFTER, HeaderValue::from(seconds))
    }

    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// A stable word that clients can branch on.
    pub fn kind(&self) -> &'static str {
        self.0.kind
    }

    pub fn summary(&self) -> &str {
        &self.0.summary
    }

    #[cfg(test)]
    pub fn details(&self) -> &[Detail] {
        &self.0.details
    }

    pub fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.0.headers
    }

    pub fn cause(&self) -> Option<&(dyn StdError + Send + Sync)> {
        self.0.cause.as_deref()
    }

    pub fn body<'a>(&'a self, time: Time, request_id: &'a str) -> ErrorBody<'a> {
        let message = match self.0.details.as_slice() {
            [] => Message::Text(&self.0.summary),
            details => Message::Details(details),
        };
        ErrorBody { kind: self.0.kind, summary: &self.0.summary, time, message, request_id }
    }
}

impl fmt::Debug for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.0.status.as_u16(), self.0.kind, self.0.summary)
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.summary)
    }
}

impl StdError for ApiError {}

impl ResponseError for ApiError {
    fn status(&self) -> StatusCode {
        self.0.status
    }
}

/// One thing that is wrong with a request, and where.
#[derive(Debug, Serialize)]
pub struct Detail {
    #[serde(rename = "type")]
    pub kind: DetailKind,
    /// `body`, `query`, `path` or `header` first, then the way down.
    pub loc: Vec<Place>,
    pub msg: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Place {
    Name(Cow<'static, str>),
    Index(usize),
}

/// What kind of mistake it is, in words that clients of other TAMS servers know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DetailKind {
    Json,
    Missing,
    Extra,
    Enum,
    Bool,
    Int,
    Text,
    List,
    Object,
    Pattern,
    Value,
}

impl DetailKind {
    pub fn word(self) -> &'static str {
        match self {
            Self::Json => "json_invalid",
            Self::Missing => "missing",
            Self::Extra => "extra_forbidden",
            Self::Enum => "enum",
            Self::Bool => "bool_parsing",
            Self::Int => "int_parsing",
            Self::Text => "string_type",
            Self::List => "list_type",
            Self::Object => "model_type",
            Self::Pattern => "string_pattern_mismatch",
            Self::Value => "value_error",
        }
    }
}

impl Serialize for DetailKind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

impl Detail {
    pub fn new(kind: DetailKind, loc: Vec<Place>, msg: impl Into<String>) -> Self {
        Self { kind, loc, msg: msg.into() }
    }

    pub fn query(kind: DetailKind, name: &str, msg: impl Into<String>) -> Self {
        Self::new(kind, vec![Place::Name("query".into()), Place::Name(name.to_owned().into())], msg)
    }

    /// `body.get_urls[0].label`
    pub fn path(&self) -> String {
        self.loc.iter().fold(String::new(), |mut path, place| {
            match place {
                Place::Index(index) => path.push_str(&format!("[{index}]")),
                Place::Name(name) => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(name);
                }
            }
            path
        })
    }
}

impl From<Detail> for ApiError {
    fn from(detail: Detail) -> Self {
        let summary = format!("{}: {}", detail.path(), detail.msg);
        let mut error = Self::bad_request("validation_error", summary);
        error.0.details.push(detail);
        error
    }
}

/// The body of every error.
#[derive(Debug, Serialize)]
pub struct ErrorBody<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    summary: &'a str,
    time: Time,
    /// The summary again, or what is wrong piece by piece.
    message: Message<'a>,
    request_id: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Message<'a> {
    Text(&'a str),
    Details(&'a [Detail]),
}

api_type!([] DetailKind, "ErrorDetailKind", inline(MetaSchema::new("string")), |_| {});
api_type!(
    [] Place,
    "ErrorPlace",
    inline(MetaSchema { any_of: vec![String::schema_ref(), u32::schema_ref()], ..MetaSchema::ANY }),
    |_| {}
);

shape! {
    /// One thing that is wrong with a request.
    #[derive(Serialize)]
    struct DetailShape<'a> as "ErrorDetail" {
        required {
            kind as "type": DetailKind,
            /// `body`, `query`, `path` or `header` first, then the way down.
            loc as "loc": Vec<Place>,
            msg as "msg": &'a str,
        }
        optional {}
    }
}

/// The summary as a text, or the list of details.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct MessageShape<'a>(&'a str);

api_type!(
    ['a] MessageShape<'a>,
    "ErrorMessage",
    inline(MetaSchema {
        any_of: vec![String::schema_ref(), Vec::<DetailShape<'static>>::schema_ref()],
        ..MetaSchema::ANY
    }),
    DetailShape::register
);

shape! {
    /// What went wrong.
    #[derive(Serialize)]
    struct ErrorShape<'a> as "Error" {
        required {
            /// A stable word to branch on.
            error_type as "type": &'a str,
            /// One sentence for people.
            summary as "summary": &'a str,
            time as "time": Time,
            /// The summary again or, for invalid requests, a list of what is wrong: type, loc and msg.
            message as "message": MessageShape<'a>,
            /// To find the request in the server's log.
            request_id as "request_id": &'a str,
        }
        optional {}
    }
}

impl ApiResponse for ApiError {
    fn meta() -> MetaResponses {
        let range = |status: &str, description| MetaResponse {
            description,
            status: None,
            status_range: Some(status.to_owned()),
            content: vec![MetaMediaType {
                content_type: JsonReply::<ErrorShape<'static>>::CONTENT_TYPE,
                schema: ErrorShape::schema_ref(),
            }],
            headers: vec![],
        };
        MetaResponses {
            responses: vec![
                range("4XX", "The request cannot be met as it is; the body says what to change."),
                range("5XX", "The server failed; trying again later may help."),
            ],
        }
    }

    fn register(registry: &mut Registry) {
        ErrorShape::register(registry);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::UtcTime;

    fn body(error: &ApiError) -> Value {
        let time = Time(UtcTime::from_timestamp(1_786_698_000, 0).unwrap());
        serde_json::to_value(error.body(time, "r1")).unwrap()
    }

    #[test]
    fn the_message_is_the_summary_or_the_list_of_details() {
        assert_eq!(
            body(&ApiError::not_found("gone")),
            json!({"type": "not_found", "summary": "gone", "time": "2026-08-14T09:00:00Z", "message": "gone", "request_id": "r1"})
        );
        let detail = Detail::query(DetailKind::Int, "limit", "is a whole number");
        assert_eq!(
            body(&detail.into()),
            json!({
                "type": "validation_error", "summary": "query.limit: is a whole number", "time": "2026-08-14T09:00:00Z",
                "message": [{"type": "int_parsing", "loc": ["query", "limit"], "msg": "is a whole number"}], "request_id": "r1",
            })
        );
    }
}
