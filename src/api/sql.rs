//! `POST /sql`: a query in, rows out, as they come. Beside TAMS.

use std::net::IpAddr;
use std::sync::Arc;

use futures::StreamExt;
use poem::http::{HeaderValue, Method, StatusCode, header};
use poem::{Body, EndpointExt, Request, Response};
use serde::Deserialize;
use serde_json::Value;

use super::Api;
use super::error::{ApiError, Detail, DetailKind, Place};
use super::json::read_json;
use super::query::Query;
use super::routes::Methods;
use crate::query::output::{self, Format};
use crate::query::{Answer, Engine, Param, Params, QueryError, Question, parse_as_of};

/// Header of answers: the log entry whose state was asked.
const LSN: &str = "x-tamslake-lsn";
/// Header of answers: which engine made it.
const ENGINE: &str = "x-tamslake-engine";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SqlBody {
    sql: String,
    #[serde(default)]
    params: ParamsBody,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ParamsBody {
    Listed(Vec<Value>),
    Named(std::collections::BTreeMap<String, Value>),
}

impl Default for ParamsBody {
    fn default() -> Self {
        Self::Listed(Vec::new())
    }
}

pub fn sql(api: Arc<Api>) -> Methods {
    let post = poem::endpoint::make(move |mut request: Request| {
        let api = api.clone();
        async move {
            let body: SqlBody = read_json(&mut request).await?;
            let query = Query::of(&request);
            let format = format(&request, &query)?;
            let question = Question {
                sql: body.sql,
                params: params(body.params)?,
                engine: query.value::<Engine>("engine")?,
                as_of: query.text("as_of").map(parse_as_of).transpose().map_err(ApiError::from)?,
                caller: caller(&request),
                ..Question::default()
            };
            let answer = ask(&api, &request, question).await?;
            Ok::<_, poem::Error>(respond(answer, format)?)
        }
    });
    Methods::new([(Method::POST, post.map_to_response().boxed())])
}

/// An answer for a client that waits for it.
pub async fn ask(api: &Api, request: &Request, question: Question) -> Result<Answer, ApiError> {
    let client = request.remote_addr().as_socket_addr().copied();
    tokio::select! {
        answer = api.sql.ask(question) => Ok(answer?),
        () = api.connections.gone(client) => {
            Err(ApiError::bad_request("incomplete_request", "The client is gone"))
        }
    }
}

/// Who asks, for the limits: an address, as long as nobody has a name.
pub fn caller(request: &Request) -> String {
    request.remote_addr().as_socket_addr().map_or_else(|| "somebody".to_owned(), |addr| ip(addr.ip()))
}

fn ip(address: IpAddr) -> String {
    address.to_canonical().to_string()
}

fn params(body: ParamsBody) -> Result<Params, ApiError> {
    let param = |place: Place, value: Value| match value {
        Value::Null => Ok(Param::Null),
        Value::Bool(value) => Ok(Param::Bool(value)),
        Value::String(text) => Ok(Param::Text(text)),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Ok(Param::Int(whole)),
            None => Ok(Param::Double(number.as_f64().unwrap_or(f64::NAN))),
        },
        Value::Array(_) | Value::Object(_) => {
            let loc = vec![Place::Name("body".into()), Place::Name("params".into()), place];
            Err(ApiError::from(Detail::new(DetailKind::Value, loc, "is a text, a number, true, false or null")))
        }
    };
    Ok(match body {
        ParamsBody::Listed(values) => Params::Listed(
            values
                .into_iter()
                .enumerate()
                .map(|(at, value)| param(Place::Index(at), value))
                .collect::<Result<_, _>>()?,
        ),
        ParamsBody::Named(values) => Params::Named(
            values
                .into_iter()
                .map(|(name, value)| Ok((name.clone(), param(Place::Name(name.into()), value)?)))
                .collect::<Result<_, ApiError>>()?,
        ),
    })
}

/// By `?format=`, then by `Accept`, in the client's order.
pub fn format(request: &Request, query: &Query<'_>) -> Result<Format, ApiError> {
    let words = Format::ALL.map(|format| (format.name(), format));
    if let Some(format) = query.word("format", &words)? {
        return Ok(format);
    }
    let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or("*/*");
    let wanted = accept.split(',').map(|kind| kind.split(';').next().unwrap_or_default().trim());
    for kind in wanted {
        let known = match kind {
            "" | "*/*" | "application/*" | "application/json" => Format::Json,
            "application/x-ndjson" | "application/jsonl" => Format::JsonLines,
            "text/csv" | "text/*" => Format::Csv,
            "application/vnd.apache.arrow.stream" => Format::Arrow,
            _ => continue,
        };
        return Ok(known);
    }
    let text =
        "Rows can be had as application/json, application/x-ndjson, text/csv or application/vnd.apache.arrow.stream";
    Err(ApiError::new(StatusCode::NOT_ACCEPTABLE, "not_acceptable", text))
}

/// Rows as they come. What fails after the first ones breaks the answer off: it must not look whole.
pub fn respond(answer: Answer, format: Format) -> Result<Response, ApiError> {
    let (lsn, engine) = (answer.lsn, answer.engine);
    let pieces = output::encode(answer, format)?.map(|piece| {
        piece.map_err(|error| {
            tracing::warn!(%error, "a query failed after its answer had begun");
            std::io::Error::other(error.to_string())
        })
    });
    let response = Response::builder().content_type(format.content_type()).body(Body::from_bytes_stream(pieces));
    Ok(saying(response, lsn, engine))
}

/// An answer that says which state was asked, by which engine.
pub fn saying(mut response: Response, lsn: u64, engine: Engine) -> Response {
    response.headers_mut().insert(LSN, HeaderValue::from(lsn));
    response.headers_mut().insert(ENGINE, HeaderValue::from_static(engine.name()));
    response
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        use QueryError as E;
        let text = error.to_string();
        match error {
            E::Wrong(_) => Self::bad_request("sql_invalid", text),
            E::NotAQuery(_) => Self::new(StatusCode::FORBIDDEN, "sql_read_only", text),
            E::TooLong { .. } => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", text),
            E::Parameter { name, reason } => Detail::query(DetailKind::Value, &name, reason).into(),
            E::Past(crate::catalog::PastError::Commit(error)) | E::Catalogue(error) => error.into(),
            E::Past(crate::catalog::PastError::Unreadable(cause)) => unreadable(cause),
            E::Past(_) => Self::bad_request("as_of_out_of_reach", text),
            E::TimedOut(_) => Self::bad_request("query_timeout", text),
            E::TooLarge(_) => Self::bad_request("query_too_large", text),
            E::TooManyRows(_) => Self::bad_request("query_too_many_rows", text),
            E::Busy => Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", text).retry_after(1),
            E::Unreadable(cause) => unreadable(cause),
            E::Internal(cause) => super::status::internal(cause),
        }
    }
}

fn unreadable(cause: String) -> ApiError {
    let summary = "A part of the catalogue cannot be read now: the server's log says which";
    ApiError::failure(StatusCode::SERVICE_UNAVAILABLE, "unavailable", summary, cause).retry_after(5)
}
