//! Media bytes under signed URLs of this server: what `put_url` and `get_urls` point to. Whoever holds such a URL needs
//! no other permission; whoever does not learns nothing but that.

use std::sync::Arc;

use poem::endpoint::make;
use poem::http::{HeaderValue, Method, StatusCode, header};
use poem::{Body, EndpointExt, Request, Response};

use super::Api;
use super::error::ApiError;
use super::query::Query;
use super::request::{BodyStream, drain, stream};
use super::routes::Methods;
use super::status::busy;
use crate::domain::{ObjectId, UtcTime};
use crate::media::range::{http_date, if_none_match, if_range, parse_expectations, parse_range};
use crate::media::{Access, Expect, MediaFile, RangeOutcome, SignatureError};
use crate::operations::{StoredMedia, read_media, write_media};

pub fn methods(api: Arc<Api>) -> Methods {
    let reader = api.clone();
    let get = make(move |request| {
        let api = reader.clone();
        async move { Ok::<_, poem::Error>(get(&api, &request).await?) }
    });
    let put = make(move |request| {
        let api = api.clone();
        async move { Ok::<_, poem::Error>(put(&api, request).await?) }
    });
    Methods::new([(Method::GET, get.boxed()), (Method::PUT, put.boxed())])
}

/// What a signed URL names.
struct Grant {
    object_id: ObjectId,
    key: String,
    expires: UtcTime,
}

/// Nothing is looked up before the signature is known to be right.
fn grant(api: &Api, request: &Request, access: Access) -> Result<Grant, ApiError> {
    let query = Query::of(request);
    let parts = || {
        let object_id = request.raw_path_param("object_id")?.parse().ok()?;
        let expires = UtcTime::from_timestamp(query.text("expires")?.parse().ok()?, 0)?;
        Some((object_id, query.text("key")?, expires, query.text("signature")?))
    };
    let (object_id, key, expires, signature): (ObjectId, _, _, _) = parts().ok_or(SignatureError::Wrong)?;
    let now = api.tams.clock.now();
    api.signer.verify(access, object_id.as_str(), key, expires, signature, now)?;
    Ok(Grant { key: key.to_owned(), object_id, expires })
}

async fn put(api: &Api, mut request: Request) -> Result<Response, ApiError> {
    let mut body = stream(request.take_body());
    let stored = store(api, &request, &mut body).await;
    if stored.is_err() {
        drain(request.headers(), &mut body).await;
    }
    Ok(Response::builder().header(header::ETAG, stored?.etag).finish())
}

async fn store(api: &Api, request: &Request, body: &mut BodyStream) -> Result<StoredMedia, ApiError> {
    let grant = grant(api, request, Access::Put)?;
    if request.headers().contains_key(header::CONTENT_RANGE) {
        let text = "An upload is the whole object: send it without Content-Range";
        return Err(ApiError::bad_request("unsupported", text));
    }
    let _turn = api.settings.uploads.try_acquire().map_err(|_| busy("Too many uploads at one time: try again"))?;
    let expect = expectations(request, api.settings.max_object)?;
    Ok(write_media(&api.tams, &grant.object_id, &grant.key, body, expect).await?)
}

fn expectations(request: &Request, max_length: u64) -> Result<Expect, ApiError> {
    // Some S3 clients wrap the body in signed chunks. Stored as they are, these would not be the media.
    if request.header("content-encoding").is_some_and(|coding| coding.contains("aws-chunked")) {
        let text = "Send the bytes as they are: chunk signatures (aws-chunked) are not understood";
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported", text));
    }
    let length = request.header(header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
    if length.is_some_and(|length: u64| length > max_length) {
        return Err(crate::media::MediaError::TooLong { max_length }.into());
    }
    let (sha256, md5) = parse_expectations(
        request.header("content-md5"),
        request.header("content-digest"),
        request.header("x-amz-checksum-sha256"),
    )?;
    Ok(Expect { length, sha256, md5, max_length })
}

async fn get(api: &Api, request: &Request) -> Result<Response, ApiError> {
    let grant = grant(api, request, Access::Get)?;
    let (file, content_type) = read_media(&api.tams, &grant.object_id, &grant.key).await?;
    // As long as the URL works; the bytes under it never change.
    let seconds = (grant.expires - api.tams.clock.now()).num_seconds().max(0);
    let mut response = respond(request, file, content_type.as_str())?;
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::try_from(format!("private, immutable, max-age={seconds}")) {
        headers.insert(header::CACHE_CONTROL, value);
    }
    // Clients choose the content type. Opened in a browser, the bytes must not act as a page of this server.
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    Ok(response)
}

pub(super) fn respond(request: &Request, file: MediaFile, content_type: &str) -> Result<Response, ApiError> {
    let reply = Response::builder()
        .header(header::ETAG, &file.etag)
        .header(header::LAST_MODIFIED, http_date(file.modified))
        .header(header::ACCEPT_RANGES, "bytes");
    if if_none_match(request.header(header::IF_NONE_MATCH), &file.etag) {
        return Ok(reply.status(StatusCode::NOT_MODIFIED).finish());
    }
    let reply = reply.content_type(content_type);
    let range =
        request.header(header::RANGE).filter(|_| if_range(request.header(header::IF_RANGE), &file.etag, file.modified));
    let total = file.length;
    match parse_range(range, total) {
        RangeOutcome::Whole => {
            Ok(reply.header(header::CONTENT_LENGTH, total).body(Body::from_bytes_stream(file.read(0..total))))
        }
        RangeOutcome::Part(part) => Ok(reply
            .status(StatusCode::PARTIAL_CONTENT)
            .header(header::CONTENT_LENGTH, part.end - part.start)
            .header(header::CONTENT_RANGE, format!("bytes {}-{}/{total}", part.start, part.end - 1))
            .body(Body::from_bytes_stream(file.read(part)))),
        RangeOutcome::Unsatisfiable => {
            let text = format!("The range lies beyond the {total} bytes of the object");
            let error = ApiError::new(StatusCode::RANGE_NOT_SATISFIABLE, "range_not_satisfiable", text);
            let all =
                HeaderValue::try_from(format!("bytes */{total}")).unwrap_or(HeaderValue::from_static("bytes */*"));
            Err(error.with_header(header::CONTENT_RANGE, all))
        }
    }
}
