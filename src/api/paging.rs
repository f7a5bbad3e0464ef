//! Pages of lists: tokens, links and headers.
//!
//! A token is the place where the page before ended, signed together with the path and the filters: one that was made
//! up, changed or taken to another list is refused. It holds no state of the server and never gets old.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use poem::http::{HeaderValue, header};
use poem::{IntoResponse, Request, Response};
use poem_openapi::ApiResponse;
use poem_openapi::payload::Payload;
use poem_openapi::registry::{MetaHeader, MetaResponses, Registry};
use poem_openapi::types::Type;
use sha2::Sha256;

use super::Api;
use super::cursor::PageCursor;
use super::error::ApiError;
use super::json::JsonReply;
use super::query::Query;
use super::request::api_url;
use crate::domain::TimeRange;

/// Of lists and of segments.
pub const DEFAULT_LIMIT: usize = 100;
pub const MAX_LIMIT: usize = 1000;

/// First byte of a token. A new form gets a new number.
const VERSION: u8 = 1;
/// 128 bits of the MAC: enough against guessing.
const MAC_BYTES: usize = 16;
/// Not part of what a token is bound to, and not repeated in links: the page itself, how long it is, who asks.
const FREE: [&str; 3] = ["page", "limit", "access_token"];

/// All but the unreserved characters of RFC 3986, so neither `,` nor `;`, at which some clients cut the Link header.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// One request for a page of a list.
pub struct Paging<'a> {
    api: &'a Api,
    request: &'a Request,
    query: &'a Query<'a>,
    pub limit: usize,
    pub reverse_order: bool,
}

impl<'a> Paging<'a> {
    pub fn of(api: &'a Api, request: &'a Request, query: &'a Query<'a>) -> Result<Self, ApiError> {
        Self::with_default(api, request, query, DEFAULT_LIMIT)
    }

    pub fn with_default(
        api: &'a Api,
        request: &'a Request,
        query: &'a Query<'a>,
        default_limit: usize,
    ) -> Result<Self, ApiError> {
        let limit = query.limit(default_limit, MAX_LIMIT)?;
        let reverse_order = query.flag("reverse_order")?.unwrap_or(false);
        Ok(Self { api, request, query, limit, reverse_order })
    }

    /// What a token is bound to: with the version that the client named, because lists may differ between versions.
    fn path(&self) -> &str {
        self.request.original_uri().path()
    }

    /// Where the page before ended.
    pub fn after<C: PageCursor>(&self) -> Result<Option<C>, ApiError> {
        let Some(token) = self.query.text("page") else { return Ok(None) };
        let cursor = open(&self.api.settings.page_token_key, self.path(), self.query, token);
        match cursor.and_then(|bytes| C::from_bytes(&bytes)) {
            Some(cursor) => Ok(Some(cursor)),
            None => Err(ApiError::bad_request("page_token", "page is not a token of this list with these filters")),
        }
    }

    /// The answer: `body` is a JSON document with `count` items, `next` where the next page goes on.
    pub fn reply<T: Type>(&self, body: Vec<u8>, count: usize, next: Option<&impl PageCursor>) -> Paged<T> {
        let next = next.map(|cursor| {
            let token = seal(&self.api.settings.page_token_key, self.path(), self.query, &cursor.to_bytes());
            let base = api_url(self.request, self.api.settings.public_url.as_deref());
            (link(&base, self.request.uri().path(), self.query, self.limit, &token), token)
        });
        Paged {
            body: JsonReply::from_bytes(body),
            count,
            limit: self.limit,
            reverse_order: self.reverse_order,
            next,
            timerange: None,
        }
    }
}

fn link(base: &str, path: &str, query: &Query<'_>, limit: usize, token: &str) -> String {
    let mut url = format!("{base}{path}?");
    for (name, value) in query.pairs.iter().filter(|(name, _)| !FREE.contains(&&**name)) {
        url.extend(utf8_percent_encode(name, RESERVED));
        url.push('=');
        url.extend(utf8_percent_encode(value, RESERVED));
        url.push('&');
    }
    url.push_str(&format!("limit={limit}&page={token}"));
    url
}

fn mac(key: &[u8; 32], path: &str, query: &Query<'_>, signed: &[u8]) -> [u8; MAC_BYTES] {
    let mut filters: Vec<_> = query.pairs.iter().filter(|(name, _)| !FREE.contains(&&**name)).collect();
    // The same filters in another order are the same list.
    filters.sort();
    // HMAC fills a short key up to a block with zeros: done here, so that no length is left that can be wrong.
    let mut block = [0; 64];
    block[..32].copy_from_slice(key);
    let mut mac = Hmac::<Sha256>::new(&block.into());
    let filters = filters.into_iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
    for part in [b"tamslake page", path.as_bytes(), signed].into_iter().chain(filters) {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    let whole: [u8; 32] = mac.finalize().into_bytes().into();
    let mut half = [0; MAC_BYTES];
    half.copy_from_slice(&whole[..MAC_BYTES]);
    half
}

fn seal(key: &[u8; 32], path: &str, query: &Query<'_>, cursor: &[u8]) -> String {
    let mut token = Vec::with_capacity(1 + cursor.len() + MAC_BYTES);
    token.push(VERSION);
    token.extend_from_slice(cursor);
    let mac = mac(key, path, query, &token);
    token.extend_from_slice(&mac);
    URL_SAFE_NO_PAD.encode(token)
}

fn open(key: &[u8; 32], path: &str, query: &Query<'_>, token: &str) -> Option<Vec<u8>> {
    let token = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (signed, given) = token.split_last_chunk::<MAC_BYTES>()?;
    let wanted = mac(key, path, query, signed);
    // Every byte is compared, whether or not one differs: the time taken tells nothing.
    let differs = wanted.iter().zip(given).fold(0, |differs, (left, right)| differs | (left ^ right));
    match signed.split_first() {
        Some((&VERSION, cursor)) if differs == 0 => Some(cursor.to_vec()),
        _ => None,
    }
}

/// A page with its headers.
pub struct Paged<T> {
    body: JsonReply<T>,
    count: usize,
    limit: usize,
    reverse_order: bool,
    /// Link and token of the next page.
    next: Option<(String, String)>,
    timerange: Option<TimeRange>,
}

impl<T> Paged<T> {
    /// What the page covers; an empty page covers nothing and says nothing.
    pub fn covering(mut self, timerange: Option<TimeRange>) -> Self {
        self.timerange = timerange;
        self
    }
}

impl<T: Send> IntoResponse for Paged<T> {
    fn into_response(self) -> Response {
        let mut response = self.body.into_response();
        let headers = response.headers_mut();
        headers.insert("x-paging-limit", HeaderValue::from(self.limit));
        headers.insert("x-paging-count", HeaderValue::from(self.count));
        let reverse_order = if self.reverse_order { "true" } else { "false" };
        headers.insert("x-paging-reverse-order", HeaderValue::from_static(reverse_order));
        if let Some(timerange) = self.timerange.and_then(|timerange| HeaderValue::try_from(timerange.to_string()).ok())
        {
            headers.insert("x-paging-timerange", timerange);
        }
        if let Some((link, token)) = self.next
            && let (Ok(link), Ok(token)) = (format!("<{link}>; rel=\"next\"").try_into(), token.try_into())
        {
            headers.insert(header::LINK, link);
            headers.insert("x-paging-nextkey", token);
        }
        response
    }
}

impl<T: Type> ApiResponse for Paged<T> {
    fn meta() -> MetaResponses {
        let header = |name: &str, description: &str, schema| MetaHeader {
            name: name.to_owned(),
            description: Some(description.to_owned()),
            required: false,
            deprecated: false,
            schema,
        };
        let mut meta = <JsonReply<T> as ApiResponse>::meta();
        for response in &mut meta.responses {
            response.headers = vec![
                header(
                    "Link",
                    "URL of the next page, with rel=\"next\"; absent on the last page.",
                    String::schema_ref(),
                ),
                header(
                    "X-Paging-NextKey",
                    "Value of page for the next page; absent on the last page.",
                    String::schema_ref(),
                ),
                header("X-Paging-Limit", "Items in a page at most.", u32::schema_ref()),
                header("X-Paging-Count", "Items in this page.", u32::schema_ref()),
                header("X-Paging-Reverse-Order", "Whether the order is reversed.", bool::schema_ref()),
            ];
        }
        meta
    }

    fn register(registry: &mut Registry) {
        <JsonReply<T> as Payload>::register(registry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8; 32] = &[7; 32];

    fn seal_for(query: &str) -> String {
        seal(KEY, "/flows", &Query::parse(query), b"cursor")
    }

    #[test]
    fn a_token_fits_the_list_and_the_filters_it_was_made_for() {
        let token = seal_for("label=a&format=b&limit=5");
        let opened = |key, path, query| open(key, path, &Query::parse(query), &token);
        assert_eq!(
            opened(KEY, "/flows", "format=b&label=a&limit=9&page=x&access_token=t").as_deref(),
            Some(&b"cursor"[..])
        );
        for (key, path, query) in [
            (KEY, "/sources", "label=a&format=b"),
            (KEY, "/flows", "label=a"),
            (KEY, "/flows", "label=b&format=a"),
            (KEY, "/flows", "label=a&format=b&reverse_order=true"),
            (&[8; 32], "/flows", "label=a&format=b"),
        ] {
            assert_eq!(opened(key, path, query), None, "{path} {query}");
        }
    }

    #[test]
    fn no_changed_token_is_taken() {
        let token = URL_SAFE_NO_PAD.decode(seal_for("")).unwrap();
        for at in 0..token.len() {
            let mut changed = token.clone();
            changed[at] ^= 1;
            assert_eq!(open(KEY, "/flows", &Query::parse(""), &URL_SAFE_NO_PAD.encode(changed)), None, "byte {at}");
        }
        for short in ["", "AQ", "!", "1", &URL_SAFE_NO_PAD.encode(&token[..token.len() - 1])] {
            assert_eq!(open(KEY, "/flows", &Query::parse(""), short), None);
        }
    }

    #[test]
    fn links_keep_every_filter_and_escape_what_clients_cut_at() {
        let query =
            Query::parse("tag.a%2Cb=x%3By&limit=5000&page=old&timerange=[0:0_1:0)&access_token=secret&l=a%252Cb");
        assert_eq!(
            link("https://t/v8.2", "/flows", &query, 1000, "NEW"),
            "https://t/v8.2/flows?tag.a%2Cb=x%3By&timerange=%5B0%3A0_1%3A0%29&l=a%252Cb&limit=1000&page=NEW"
        );
    }
}
