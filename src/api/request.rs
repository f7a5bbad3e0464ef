//! What handlers may ask of a request besides its own: its body, how long that may be, and the URL under which the
//! client reached this server.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use poem::http::{HeaderMap, header};
use poem::{Body, Request};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::dialect::Dialect;

/// Bytes of a JSON body at most. Set by the outermost layer.
#[derive(Clone, Copy)]
pub struct BodyLimit(pub u64);

/// Room for the JSON bodies that are being read, in KiB: what clients send slowly must not fill the memory.
#[derive(Clone)]
pub struct BodyRoom(pub Arc<Semaphore>);

impl BodyRoom {
    pub fn new(bytes: u64) -> Self {
        let kib = usize::try_from(bytes / 1024).unwrap_or(usize::MAX).clamp(1, Semaphore::MAX_PERMITS);
        Self(Arc::new(Semaphore::new(kib)))
    }

    /// Taken for as long as the permit is kept; `None` if there is no room now.
    pub fn take(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let kib = u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX);
        self.0.clone().try_acquire_many_owned(kib).ok()
    }
}

pub type BodyStream = Pin<Box<dyn Stream<Item = std::io::Result<Bytes>> + Send>>;

pub fn stream(body: Body) -> BodyStream {
    Box::pin(body.into_bytes_stream())
}

/// Reads and forgets the rest of a body that is refused. Without it the connection breaks while the client still sends,
/// and many clients then report the broken connection instead of the answer. Gives up on long bodies, and does not touch
/// those that wait for a leave to be sent: reading would give it.
pub async fn drain(headers: &HeaderMap, body: &mut BodyStream) {
    const MOST: usize = 32 << 20;
    if headers.contains_key(header::EXPECT) {
        return;
    }
    let mut seen = 0;
    while let Some(Ok(block)) = body.next().await {
        seen += block.len();
        if seen > MOST {
            return;
        }
    }
}

/// Scheme, host and prefix of a proxy that the client used, without a slash at the end. Links made with it come back the
/// same way.
pub fn base_url(request: &Request, public_url: Option<&str>) -> String {
    if let Some(url) = public_url {
        return url.trim_end_matches('/').to_owned();
    }
    let scheme = request.scheme().as_str();
    let authority = request.uri().authority().map(|authority| authority.as_str());
    base_of(request.headers(), scheme, authority)
}

/// The same with the version that the client named: what URLs of the API itself begin with.
pub fn api_url(request: &Request, public_url: Option<&str>) -> String {
    base_url(request, public_url) + Dialect::prefix_of(request)
}

/// Headers come from anybody, and what is made of them stands in URLs and headers: a strange value counts as none.
fn base_of(headers: &HeaderMap, scheme: &str, authority: Option<&str>) -> String {
    let first = |name: &str| headers.get(name)?.to_str().ok()?.split(',').next().map(str::trim);
    let scheme = first("x-forwarded-proto").filter(|scheme| matches!(*scheme, "http" | "https")).unwrap_or(scheme);
    let host = first("x-forwarded-host")
        .filter(|host| is_authority(host))
        .or_else(|| first(header::HOST.as_str()).filter(|host| is_authority(host)))
        .or(authority.filter(|host| is_authority(host)))
        .unwrap_or("localhost");
    let prefix = first("x-forwarded-prefix").map(|prefix| prefix.trim_matches('/')).filter(|prefix| is_path(prefix));
    match prefix {
        Some(prefix) => format!("{scheme}://{host}/{prefix}"),
        None => format!("{scheme}://{host}"),
    }
}

fn is_authority(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b))
}

fn is_path(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~/".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(headers: &[(&'static str, &str)]) -> String {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        base_of(&headers, "http", None)
    }

    #[test]
    fn links_lead_back_the_way_the_client_came() {
        assert_eq!(base(&[("host", "tams:8000")]), "http://tams:8000");
        assert_eq!(
            base(&[
                ("host", "10.0.0.7:8000"),
                ("x-forwarded-proto", "https"),
                ("x-forwarded-host", "tams.example, inner"),
                ("x-forwarded-prefix", "/tams/v8.2/"),
            ]),
            "https://tams.example/tams/v8.2"
        );
    }

    #[test]
    fn strange_headers_count_as_none() {
        assert_eq!(
            base(&[("host", "tams"), ("x-forwarded-host", "a b"), ("x-forwarded-proto", "javascript")]),
            "http://tams"
        );
        assert_eq!(base(&[("host", "tams"), ("x-forwarded-prefix", "a;b")]), "http://tams");
        assert_eq!(base(&[("host", "x/../y")]), "http://localhost");
    }
}
