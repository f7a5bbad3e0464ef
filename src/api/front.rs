//! The outermost layer: every request gets its id here, and every failure its answer. Panics end here, errors become
//! the one body, requests are logged.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use poem::http::{HeaderValue, Method, header};
use poem::{Endpoint, IntoResponse, Request, Response, Result};

use super::error::ApiError;
use super::json::JSON;
use super::request::{BodyLimit, BodyRoom};
use super::routes::without_body;
use super::status::internal;
use super::wire::Time;
use crate::clock::{Clock, Stopwatch};

const REQUEST_ID: &str = "x-request-id";

pub struct Front<E> {
    pub clock: Clock,
    /// Bytes of a JSON body at most.
    pub max_body: u64,
    pub room: BodyRoom,
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
            .map_or_else(|| format!("{:032x}", u128::from_be_bytes(self.clock.random_bytes())), str::to_owned);
        request.set_data(BodyLimit(self.max_body));
        request.set_data(self.room.clone());
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
        let time = Time(self.clock.now());
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
    use poem::endpoint::make_sync;
    use poem::{EndpointExt, Route};
    use serde_json::Value;

    use super::*;
    use crate::api::routes::Methods;
    use crate::domain::UtcTime;

    async fn call(method: Method, path: &str) -> (Response, Value) {
        let whole = make_sync(|_| "text").map_to_response().boxed();
        let broken = make_sync(|_| -> &str { panic!("secret") }).map_to_response().boxed();
        let inner = Route::new()
            .at("/things", Methods::new([(Method::GET, whole)]))
            .at("/broken", Methods::new([(Method::GET, broken)]));
        let front = Front { clock: Clock::manual(UtcTime::UNIX_EPOCH, 1), max_body: 1, room: BodyRoom::new(1), inner };
        let request = Request::builder().method(method).uri_str(path).header(REQUEST_ID, "r-1").finish();
        let mut response = front.call(request).await.unwrap();
        let body = response.take_body().into_bytes().await.unwrap();
        (response, serde_json::from_slice(&body).unwrap_or(Value::String(String::from_utf8(body.into()).unwrap())))
    }

    #[tokio::test]
    async fn every_failure_has_the_one_body() {
        for (method, path, status, kind) in [
            (Method::GET, "/nothing", 404, "not_found"),
            (Method::POST, "/things", 405, "method_not_allowed"),
            (Method::GET, "/broken", 500, "internal"),
        ] {
            let (response, body) = call(method, path).await;
            assert_eq!(response.status().as_u16(), status);
            assert_eq!(response.content_type(), Some("application/json"));
            assert_eq!(response.header(REQUEST_ID), Some("r-1"));
            assert_eq!((&body["type"], &body["request_id"]), (&kind.into(), &"r-1".into()));
            assert_eq!(body["summary"], body["message"]);
            assert!(!body["summary"].as_str().unwrap().contains("secret"));
        }
    }

    #[tokio::test]
    async fn a_path_says_which_methods_it_knows() {
        assert_eq!(call(Method::PUT, "/things").await.0.header("allow"), Some("GET, HEAD, OPTIONS"));
        let (response, _) = call(Method::OPTIONS, "/things").await;
        assert_eq!((response.status().as_u16(), response.header("allow")), (204, Some("GET, HEAD, OPTIONS")));
    }

    #[tokio::test]
    async fn head_is_get_without_a_body() {
        for (path, status) in [("/things", 200), ("/nothing", 404), ("/broken", 500)] {
            let (response, body) = call(Method::HEAD, path).await;
            assert_eq!((response.status().as_u16(), body), (status, Value::String(String::new())), "{path}");
        }
    }

    #[test]
    fn request_ids_of_clients_are_short_and_plain() {
        assert!(is_sane("01J-a.b_c"));
        for bad in ["", "a b", "a\nb", "ü", &"x".repeat(65)] {
            assert!(!is_sane(bad), "{bad:?}");
        }
    }
}
