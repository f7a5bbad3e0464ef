//! From the handlers' declarations to routes: HEAD beside every GET, OPTIONS and 405 with what a path allows.

use std::collections::HashMap;

use poem::endpoint::BoxEndpoint;
use poem::http::{HeaderValue, Method, StatusCode, header};
use poem::{Body, Endpoint, IntoResponse, Request, Response, Result, Route};
use poem_openapi::OpenApi;

use super::compression::Compression;
use super::error::ApiError;

/// All methods of one path.
pub struct Methods {
    endpoints: Vec<(Method, BoxEndpoint<'static>)>,
    allow: HeaderValue,
}

impl Methods {
    pub fn new(endpoints: impl IntoIterator<Item = (Method, BoxEndpoint<'static>)>) -> Self {
        let mut endpoints: Vec<_> = endpoints.into_iter().collect();
        endpoints.sort_by(|(left, _), (right, _)| left.as_str().cmp(right.as_str()));
        let mut allow: Vec<&str> = endpoints.iter().map(|(method, _)| method.as_str()).collect();
        if allow.contains(&"GET") {
            allow.push("HEAD");
        }
        allow.push("OPTIONS");
        // Names of methods are tokens, which a header can hold.
        let allow = HeaderValue::try_from(allow.join(", ")).unwrap_or(HeaderValue::from_static("OPTIONS"));
        Self { endpoints, allow }
    }

    fn find(&self, method: &Method) -> Option<&BoxEndpoint<'static>> {
        self.endpoints.iter().find(|(known, _)| known == method).map(|(_, endpoint)| endpoint)
    }
}

impl Endpoint for Methods {
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        if let Some(endpoint) = self.find(request.method()) {
            return endpoint.call(request).await;
        }
        if request.method() == Method::HEAD
            && let Some(endpoint) = self.find(&Method::GET)
        {
            request.set_method(Method::GET);
            return endpoint.call(request).await.map(without_body);
        }
        if request.method() == Method::OPTIONS {
            let mut response = StatusCode::NO_CONTENT.into_response();
            response.headers_mut().insert(header::ALLOW, self.allow.clone());
            return Ok(response);
        }
        let text = format!(
            "This path does not know {}: it knows {}",
            request.method(),
            self.allow.to_str().unwrap_or_default()
        );
        let error = ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", text);
        Err(error.with_header(header::ALLOW, self.allow.clone()).into())
    }
}

/// The answer to HEAD: everything but the body. Answers that know their length say it in Content-Length, which stays.
pub fn without_body(mut response: Response) -> Response {
    response.set_body(Body::empty());
    response
}

/// The routes of an API, not through poem-openapi's own service, which knows no `Allow` and parses every query.
pub fn routes(api: impl OpenApi, compression: bool) -> Route {
    let mut table: HashMap<String, HashMap<Method, BoxEndpoint<'static>>> = HashMap::new();
    api.add_routes(&mut table);
    table.into_iter().fold(Route::new(), |route, (path, methods)| {
        let methods = Methods::new(methods);
        if compression { route.at(path, Compression { inner: methods }) } else { route.at(path, methods) }
    })
}
