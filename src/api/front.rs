//! The outermost layer: every request gets its id here, and every failure its answer. Panics end here, errors become
//! the one body, requests are logged.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use poem::http::{HeaderValue, Method, StatusCode, header};
use poem::{Endpoint, IntoResponse, Request, Response, Result};

use super::Api;
use super::error::ApiError;
use super::json::JSON;
use super::request::Context;
use super::routes::without_body;
use super::status::internal;
use super::wire::Time;
use crate::clock::Stopwatch;

const REQUEST_ID: &str = "x-request-id";

pub struct Front<E> {
    pub api: Arc<Api>,
    pub inner: E,
}

impl<E: Endpoint> Endpoint for Front<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        let watch = Stopwatch::start();
        let request_id = request
            .headers()
            .get(REQUEST_ID)
            .and_then(|id| id.to_str().ok())
            .filter(|id| is_sane(id))
            .map_or_else(|| format!("{:032x}", u128::from_be_bytes(self.api.tams.clock.random_bytes())), str::to_owned);
        request.set_data(Context { request_id: request_id.clone(), max_body: self.api.settings.max_body });
        let method = request.method().clone();
        // The query may hold a token or a signature, so it is not logged.
        let path = request.uri().path().to_owned();

        let outcome = AssertUnwindSafe(self.inner.call(request)).catch_unwind().await;
        let mut response = match outcome {
            Ok(Ok(response)) => response.into_response(),
            Ok(Err(error)) => self.answer(error, &request_id),
            Err(panic) => self.answer(internal(panic_text(&*panic)).into(), &request_id),
        };
        if method == Method::HEAD && !response.is_success() {
            response = without_body(response);
        }
        if let Ok(id) = HeaderValue::try_from(&request_id) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        let status = response.status().as_u16();
        let ms = watch.elapsed().as_secs_f64() * 1000.0;
        tracing::debug!(%method, path, status, ms, request_id, "request");
        Ok(response)
    }
}

impl<E> Front<E> {
    fn answer(&self, error: poem::Error, request_id: &str) -> Response {
        let error = ApiError::from(error);
        log(&error, request_id);
        let time = Time(self.api.tams.clock.now());
        // A tree of texts always serialises.
        let body = serde_json::to_vec(&error.body(time, request_id)).unwrap_or_default();
        let mut response = Response::builder()
            .status(error.status())
            .content_type(JSON)
            .header(header::CONTENT_LENGTH, body.len())
            .body(body);
        for (name, value) in error.headers() {
            response.headers_mut().insert(name, value.clone());
        }
        if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
            // The rest of the body is not read, so the connection cannot carry another request.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

fn log(error: &ApiError, request_id: &str) {
    if let Some(cause) = error.cause() {
        // Debug shows the values that the client's text leaves out.
        let (kind, cause) = (error.kind(), format!("{cause} ({cause:?})"));
        tracing::error!(request_id, kind, cause, "{}", error.summary());
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("a handler panicked: {}", text.unwrap_or("no text"))
}

/// What can stand in a header and in a log line without harm.
fn is_sane(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_of_clients_are_short_and_plain() {
        assert!(is_sane("01J-a.b_c"));
        for bad in ["", "a b", "a\nb", "ü", &"x".repeat(65)] {
            assert!(!is_sane(bad), "{bad:?}");
        }
    }
}
