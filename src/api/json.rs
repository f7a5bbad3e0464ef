//! JSON bodies in both directions.
//!
//! In: strict serde with the place of the first mistake, within a size and a depth. Out: serialised once, straight to
//! bytes (poem-openapi's own `Json` builds a tree first, which halves the rate).

use std::marker::PhantomData;

use futures::StreamExt;
use poem::http::{HeaderMap, StatusCode, header};
use poem::{IntoResponse, Request, RequestBody, Response};
use poem_openapi::payload::Payload;
use poem_openapi::registry::{
    MetaMediaType, MetaRequest, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry,
};
use poem_openapi::types::Type;
use poem_openapi::{ApiExtractor, ApiExtractorType, ApiResponse, ExtractParamOptions};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::OwnedSemaphorePermit;

use super::error::{ApiError, Detail, DetailKind, Place};
use super::json_error::explain;
use super::request::{BodyLimit, BodyRoom, BodyStream, drain, stream};
use super::status::{busy, internal};
use super::strict::Strict;

pub const JSON: &str = "application/json";

/// Bytes of a body that describes one thing.
const MAX_SINGLE: u64 = 256 << 10;

/// Deeper nesting than any valid body has.
const MAX_DEPTH: u32 = 64;

/// A JSON request body.
pub struct JsonBody<T>(pub T);

impl<'a, T: Type + DeserializeOwned> ApiExtractor<'a> for JsonBody<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(MetaRequest {
            description: None,
            content: vec![MetaMediaType { content_type: JSON, schema: T::schema_ref() }],
            required: T::IS_REQUIRED,
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let limit = request.data::<BodyLimit>().map_or(u64::MAX, |limit| limit.0);
        let limit = if is_bulk(request.uri().path()) { limit } else { limit.min(MAX_SINGLE) };
        let bytes = read_within(request, stream(body.take()?), limit).await?;
        Ok(Self(parse_body(&bytes)?))
    }
}

/// The JSON body of a request that has no place in the document, read as [`JsonBody`] is.
pub async fn read_json<T: DeserializeOwned>(request: &mut Request) -> Result<T, ApiError> {
    let limit = request.data::<BodyLimit>().map_or(u64::MAX, |limit| limit.0);
    let body = stream(request.take_body());
    let bytes = read_within(request, body, limit).await?;
    parse_at(&bytes, &["body"])
}

/// A whole body, if there is room for it and it is JSON; if not, it is read to its end all the same.
async fn read_within(request: &Request, mut body: BodyStream, limit: u64) -> Result<Vec<u8>, ApiError> {
    let bytes = match check_headers(request.headers()) {
        Ok(()) => match room(request, limit) {
            Ok(_room) => read(&mut body, request.headers(), limit).await,
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    };
    if bytes.is_err() {
        drain(request.headers(), &mut body).await;
    }
    bytes
}

/// Whether a body may be a long list.
fn is_bulk(path: &str) -> bool {
    path.ends_with("/segments") || path.ends_with("/storage")
}

/// Room for the body, kept while it is read.
fn room(request: &Request, limit: u64) -> Result<Option<OwnedSemaphorePermit>, ApiError> {
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let Some(room) = request.data::<BodyRoom>() else { return Ok(None) };
    match room.take(announced.unwrap_or(limit).min(limit)) {
        Some(permit) => Ok(Some(permit)),
        None => Err(busy("The server is reading as many requests as it has memory for: try again")),
    }
}

/// An optional body may be empty; everything else is parsed.
fn parse_body<T: Type + DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    match bytes {
        [] if T::IS_REQUIRED => {
            Err(Detail::new(DetailKind::Missing, vec![Place::Name("body".into())], "a JSON body is required").into())
        }
        [] => serde_json::from_slice(b"null").map_err(internal),
        bytes => parse_at(bytes, &["body"]),
    }
}

fn check_headers(headers: &HeaderMap) -> Result<(), ApiError> {
    let unsupported = |text: &str| Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported", text));
    if let Some(kind) = headers.get(header::CONTENT_TYPE) {
        let essence = kind.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        // Tools send a form's type with an empty body; there is nothing to misread in that.
        let empty = headers.get(header::CONTENT_LENGTH).is_some_and(|length| length == "0");
        if !empty && !essence.eq_ignore_ascii_case(JSON.as_bytes()) {
            return unsupported("The body is JSON: send it with Content-Type: application/json");
        }
    }
    match headers.get(header::CONTENT_ENCODING) {
        Some(coding) if coding != "identity" => unsupported("Send the body without Content-Encoding"),
        _ => Ok(()),
    }
}

/// Reads a body up to `limit` bytes, counting itself: a chunked body announces no length.
async fn read(body: &mut BodyStream, headers: &HeaderMap, limit: u64) -> Result<Vec<u8>, ApiError> {
    let too_large = || {
        let text = format!("The body is longer than the {limit} bytes that are taken");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", text)
    };
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()).and_then(|text| text.parse().ok());
    if announced.is_some_and(|length: u64| length > limit) {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(announced.and_then(|length| length.try_into().ok()).unwrap_or(0));
    while let Some(block) = body.next().await {
        let block = block.map_err(|_| ApiError::bad_request("incomplete_body", "The body ended early"))?;
        if (bytes.len() + block.len()) as u64 > limit {
            return Err(too_large());
        }
        bytes.extend_from_slice(&block);
    }
    Ok(bytes)
}

/// Parses JSON that stands at `place` in the request.
///
/// Valid text is parsed once. Only a text with a mistake is parsed again, with the path followed, to name its place.
pub fn parse_at<T: DeserializeOwned>(bytes: &[u8], place: &[&'static str]) -> Result<T, ApiError> {
    let loc = || place.iter().map(|name| Place::Name((*name).into())).collect::<Vec<_>>();
    if depth(bytes) > MAX_DEPTH {
        let text = format!("nested deeper than {MAX_DEPTH} levels");
        return Err(Detail::new(DetailKind::Json, loc(), text).into());
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    if let Ok(value) = T::deserialize(Strict(&mut json))
        && json.end().is_ok()
    {
        return Ok(value);
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let mut track = serde_path_to_error::Track::new();
    let error = match T::deserialize(Strict(serde_path_to_error::Deserializer::new(&mut json, &mut track))) {
        Err(error) => error,
        Ok(value) => match json.end() {
            Err(error) => error,
            Ok(()) => return Ok(value),
        },
    };
    Err(explain(&error, &track.path(), loc()).into())
}

/// How deep brackets nest, outside of texts. Unclosed brackets count, surplus closing ones do not.
fn depth(bytes: &[u8]) -> u32 {
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0_u32, 0, false, false);
    for byte in bytes {
        match (in_text, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_text = !in_text,
            (false, b'{' | b'[') => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            (false, b'}' | b']') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// A JSON answer, serialised already; `T` is what it documents.
pub struct JsonReply<T> {
    bytes: Vec<u8>,
    documents: PhantomData<fn() -> T>,
}

impl<T: Type> JsonReply<T> {
    /// What is not set is `null`.
    fn schema() -> MetaSchemaRef {
        let nullable = MetaSchema { nullable: true, ..MetaSchema::ANY };
        if T::IS_REQUIRED { T::schema_ref() } else { T::schema_ref().merge(nullable) }
    }

    /// `value` must be of `T`'s shape; it may borrow what `T` owns.
    pub fn of(value: &impl Serialize) -> Result<Self, ApiError> {
        serde_json::to_vec(value).map(Self::from_bytes).map_err(internal)
    }

    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self { bytes, documents: PhantomData }
    }
}

impl<T: Type> Payload for JsonReply<T> {
    const CONTENT_TYPE: &'static str = JSON;

    fn schema_ref() -> MetaSchemaRef {
        Self::schema()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: Send> IntoResponse for JsonReply<T> {
    fn into_response(self) -> Response {
        // Said here and not left to the server, so that HEAD can say it too.
        let length = self.bytes.len();
        Response::builder().content_type(JSON).header(header::CONTENT_LENGTH, length).body(self.bytes)
    }
}

impl<T: Type> ApiResponse for JsonReply<T> {
    fn meta() -> MetaResponses {
        MetaResponses {
            responses: vec![MetaResponse {
                description: "",
                status: Some(200),
                status_range: None,
                content: vec![MetaMediaType { content_type: JSON, schema: Self::schema() }],
                headers: vec![],
            }],
        }
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

/// 204: done, and nothing to say.
pub struct Done;

impl IntoResponse for Done {
    fn into_response(self) -> Response {
        StatusCode::NO_CONTENT.into_response()
    }
}

impl ApiResponse for Done {
    fn meta() -> MetaResponses {
        MetaResponses {
            responses: vec![MetaResponse {
                description: "Done.",
                status: Some(204),
                status_range: None,
                content: vec![],
                headers: vec![],
            }],
        }
    }

    fn register(_: &mut Registry) {}
}

/// A JSON array that grows item by item, so that a long list is never held as a tree.
pub struct JsonArray {
    bytes: Vec<u8>,
    pub count: usize,
}

impl JsonArray {
    pub fn new() -> Self {
        Self { bytes: vec![b'['], count: 0 }
    }

    pub fn push(&mut self, item: &impl Serialize) -> Result<(), ApiError> {
        if self.count > 0 {
            self.bytes.push(b',');
        }
        self.count += 1;
        serde_json::to_writer(&mut self.bytes, item).map_err(internal)
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.push(b']');
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_in_texts_do_not_nest() {
        assert_eq!(depth(br#"{"a":["[[[[\"[[",{}]}"#), 3);
        assert_eq!(depth(b"]]]]"), 0);
        assert_eq!(depth("[".repeat(100_000).as_bytes()), 100_000);
    }

    #[test]
    fn deep_nesting_is_refused_even_under_keys_that_are_dropped() {
        let deep = format!("{{\"unknown\":{}{}}}", "[".repeat(65), "]".repeat(65));
        let error = parse_at::<super::super::wire::StoragePost>(deep.as_bytes(), &["body"]).unwrap_err();
        assert_eq!(error.details()[0].kind, DetailKind::Json);
    }

    #[test]
    fn only_an_optional_body_may_be_empty() {
        assert_eq!(parse_body::<String>(b"").unwrap_err().details()[0].kind, DetailKind::Missing);
        assert!(parse_body::<Option<String>>(b"").unwrap().is_none());
        assert_eq!(parse_body::<String>(b"\"\"").unwrap(), "");
        for bad in ["text", "\"a\" \"b\"", "\"a", "[]", "5"] {
            assert!(parse_body::<String>(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn other_content_types_are_refused() {
        let check = |kind: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
            check_headers(&headers)
        };
        assert!(check_headers(&HeaderMap::new()).is_ok());
        assert!(check("application/json").is_ok() && check("Application/JSON; charset=utf-8").is_ok());
        assert_eq!(check("text/plain").unwrap_err().status().as_u16(), 415);
        assert_eq!(check("application/jsonp").unwrap_err().status().as_u16(), 415);
    }
}
