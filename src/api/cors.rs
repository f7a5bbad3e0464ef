//! CORS, so that browsers may use the API and play the media. Not poem's: that one answers a foreign origin with a 403
//! of its own making, where the browser's refusal is all that is needed.

use std::time::Duration;

use poem::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use poem::{Endpoint, IntoResponse, Request, Response, Result};

const METHODS: &str = "GET, HEAD, PUT, POST, DELETE, OPTIONS";
const EXPOSED: &str = "Link, Location, ETag, Content-Length, Content-Range, Accept-Ranges, Retry-After, X-Request-Id, \
    X-Paging-Limit, X-Paging-NextKey, X-Paging-Count, X-Paging-Reverse-Order, X-Paging-Timerange";

#[derive(Debug, Clone)]
pub struct Origins {
    /// `*` for every origin.
    allowed: Vec<String>,
}

impl Origins {
    pub fn new(allowed: Vec<String>) -> Self {
        Self { allowed }
    }

    fn any(&self) -> bool {
        self.allowed.iter().any(|origin| origin == "*")
    }

    /// What to answer to an origin: `None` leaves the refusal to the browser.
    fn answer(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        if self.any() {
            return Some(HeaderValue::from_static("*"));
        }
        self.allowed.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()).then(|| origin.clone())
    }
}

pub struct Cors<E> {
    pub origins: Origins,
    pub max_age: Duration,
    pub inner: E,
}

impl<E: Endpoint> Endpoint for Cors<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let origin = request.headers().get(header::ORIGIN).cloned();
        let preflight = origin.is_some()
            && request.method() == Method::OPTIONS
            && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        let allowed = origin.and_then(|origin| self.origins.answer(&origin));
        let mut response = if preflight {
            let asked = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
            let mut response = StatusCode::NO_CONTENT.into_response();
            if allowed.is_some() {
                self.allow_preflight(response.headers_mut(), asked);
            }
            response
        } else {
            self.inner.call(request).await?.into_response()
        };
        if let Some(origin) = allowed {
            response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            response.headers_mut().insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        }
        if !self.origins.any() {
            // A cache must not show one origin's answer to another, nor to a request without any.
            response.headers_mut().append(header::VARY, HeaderValue::from_static("Origin"));
        }
        Ok(response)
    }
}

impl<E> Cors<E> {
    fn allow_preflight(&self, headers: &mut HeaderMap, asked: Option<HeaderValue>) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
        // `*` does not cover Authorization, so the answer repeats what was asked for.
        if let Some(asked) = asked {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked);
        }
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from(self.max_age.as_secs()));
    }
}

#[cfg(test)]
mod tests {
    use poem::endpoint::make_sync;

    use super::*;

    async fn call(allowed: &[&str], request: Request) -> Response {
        let origins = Origins::new(allowed.iter().map(|origin| (*origin).to_owned()).collect());
        let cors = Cors { origins, max_age: Duration::from_secs(600), inner: make_sync(|_| "x") };
        cors.call(request).await.unwrap()
    }

    fn request(method: Method) -> Request {
        Request::builder()
            .method(method)
            .header("origin", "https://ui")
            .header("access-control-request-method", "PUT")
            .header("access-control-request-headers", "authorization")
            .finish()
    }

    #[tokio::test]
    async fn every_origin_is_welcome_where_the_star_is() {
        let response = call(&["*"], request(Method::GET)).await;
        assert_eq!(response.header("access-control-allow-origin"), Some("*"));
        assert!(response.header("access-control-expose-headers").unwrap().contains("X-Paging-NextKey"));
        let response = call(&["*"], request(Method::OPTIONS)).await;
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        assert_eq!(response.header("access-control-allow-headers"), Some("authorization"));
        assert_eq!(response.header("access-control-max-age"), Some("600"));
    }

    #[tokio::test]
    async fn a_foreign_origin_is_answered_without_permission() {
        for method in [Method::GET, Method::OPTIONS] {
            let response = call(&["https://other"], request(method)).await;
            assert!(response.is_success());
            assert_eq!(response.header("access-control-allow-origin"), None);
            assert_eq!(response.header("vary"), Some("Origin"));
        }
        let response = call(&["https://other", "https://ui"], request(Method::GET)).await;
        assert_eq!(response.header("access-control-allow-origin"), Some("https://ui"));
    }
}
