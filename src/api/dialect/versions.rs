//! Which version a request speaks: the one that its path begins with, or 8.2. The rest of the path goes on to the routes,
//! which know no versions; [`poem::Request::original_uri`] still has the whole.

use std::sync::Arc;

use poem::error::NotFoundError;
use poem::http::Uri;
use poem::http::uri::PathAndQuery;
use poem::{Endpoint, Request, Response, Result};

use super::{Dialect, Spoken, v7, v7_webhooks};
use crate::api::Api;
use crate::api::error::ApiError;

pub struct Versions<E> {
    pub api: Arc<Api>,
    pub inner: E,
}

impl<E: Endpoint<Output = Response>> Endpoint for Versions<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        if let Some(named) = named_version(request.uri().path()) {
            let Some(dialect) = Dialect::from_version(named) else {
                return Err(unknown(named).into());
            };
            let rest = without_prefix(request.uri(), dialect.prefix().len()).ok_or(NotFoundError)?;
            if dialect == Dialect::V7_0 && !v7::knows(rest.path()) {
                return Err(NotFoundError.into());
            }
            *request.uri_mut() = rest;
            request.set_data(Spoken(dialect));
            if dialect == Dialect::V7_0 && v7_webhooks::is_registration(&request) {
                return v7_webhooks::register(&self.api, request).await;
            }
        }
        self.inner.call(request).await
    }
}

/// `9.0` of `/v9.0/flows`. No path of the API begins with a `v` and a digit.
fn named_version(path: &str) -> Option<&str> {
    let version = path.strip_prefix("/v")?.split('/').next()?;
    let is_version = version.starts_with(|c: char| c.is_ascii_digit())
        && version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    is_version.then_some(version)
}

fn unknown(version: &str) -> ApiError {
    let spoken: Vec<String> =
        Dialect::ALL.iter().map(|dialect| format!("{} under {}", dialect.version(), dialect.prefix())).collect();
    let version: String = version.chars().take(16).collect();
    ApiError::not_found(format!("There is no version {version} of the API here: there is {}", spoken.join(" and ")))
}

/// The path from `length` on, with the query. The path that is left is never empty.
fn without_prefix(uri: &Uri, length: usize) -> Option<Uri> {
    let rest = uri.path_and_query()?.as_str().get(length..)?;
    let rest = if rest.starts_with('/') { rest.parse() } else { format!("/{rest}").parse() };
    let rest: PathAndQuery = rest.ok()?;
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(rest);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_a_v_and_a_number() {
        for (path, version) in
            [("/v8.2/flows", "8.2"), ("/v7.0", "7.0"), ("/v9/", "9"), ("/v8.2.1/x", "8.2.1"), ("/v8./x", "8.")]
        {
            assert_eq!(named_version(path), Some(version), "{path}");
        }
        for path in ["/", "/v", "/v/8.2", "/flows/v8.2", "/version", "/v8.2x/flows", "/V8.2", "/v-1"] {
            assert_eq!(named_version(path), None, "{path}");
        }
    }

    #[test]
    fn what_follows_the_version_stays_as_it_was() {
        for (uri, rest) in [
            ("/v8.2/flows/a%2Fb?x=[1:0_2:0)&y=%20", "/flows/a%2Fb?x=[1:0_2:0)&y=%20"),
            ("/v8.2", "/"),
            ("/v8.2?x=1", "/?x=1"),
            ("/v8.2/", "/"),
            ("http://host:1/v8.2/flows", "http://host:1/flows"),
        ] {
            assert_eq!(without_prefix(&uri.parse().unwrap(), 5).unwrap(), rest.parse::<Uri>().unwrap(), "{uri}");
        }
    }
}
