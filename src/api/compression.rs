//! Compressed answers, for clients that ask. Not poem's middleware: it misspells zstd, compresses answers of a few
//! bytes, and unpacks request bodies without a limit.

use poem::http::{HeaderValue, Method, header};
use poem::web::{Compress, CompressionAlgo, CompressionLevel};
use poem::{Endpoint, IntoResponse, Request, Response, Result};

/// Smaller answers fit into one packet either way.
const MIN_BYTES: u64 = 1024;

pub struct Compression<E> {
    pub inner: E,
}

impl<E: Endpoint> Endpoint for Compression<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let accepted: Vec<HeaderValue> = request.headers().get_all(header::ACCEPT_ENCODING).iter().cloned().collect();
        let head = request.method() == Method::HEAD;
        let mut response = self.inner.call(request).await?.into_response();
        let length = response.header(header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
        if length.is_none_or(|length| length < MIN_BYTES) {
            return Ok(response);
        }
        response.headers_mut().append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        match choose(accepted.iter().filter_map(|value| value.to_str().ok())) {
            None => Ok(response),
            // There is no body; the headers are those of the compressed answer to GET, whose length is not known.
            Some(algorithm) if head => {
                response.headers_mut().remove(header::CONTENT_LENGTH);
                response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(name(algorithm)));
                Ok(response)
            }
            Some(algorithm) => {
                Ok(Compress::new(response, algorithm).with_quality(CompressionLevel::Fastest).into_response())
            }
        }
    }
}

fn name(algorithm: CompressionAlgo) -> &'static str {
    match algorithm {
        CompressionAlgo::BR => "br",
        CompressionAlgo::DEFLATE => "deflate",
        CompressionAlgo::GZIP => "gzip",
        CompressionAlgo::ZSTD => "zstd",
    }
}

/// The better liked of zstd and gzip; zstd where they are liked the same, because it is faster.
fn choose<'a>(accepted: impl Iterator<Item = &'a str>) -> Option<CompressionAlgo> {
    let (mut zstd, mut gzip, mut others) = (None, None, None);
    for item in accepted.flat_map(|value| value.split(',')) {
        let mut parts = item.split(';').map(str::trim);
        let coding = parts.next().unwrap_or_default();
        let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse::<f32>().ok());
        let place = match coding {
            _ if coding.eq_ignore_ascii_case("zstd") => &mut zstd,
            _ if coding.eq_ignore_ascii_case("gzip") => &mut gzip,
            "*" => &mut others,
            _ => continue,
        };
        *place = quality;
    }
    let (zstd, gzip) = (zstd.or(others).unwrap_or(0.0), gzip.or(others).unwrap_or(0.0));
    if zstd <= 0.0 && gzip <= 0.0 {
        return None;
    }
    Some(if zstd >= gzip { CompressionAlgo::ZSTD } else { CompressionAlgo::GZIP })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_better_liked_coding_is_chosen() {
        use CompressionAlgo::{GZIP, ZSTD};
        for (accepted, chosen) in [
            ("gzip, deflate, br", Some(GZIP)),
            ("gzip, deflate, br, zstd", Some(ZSTD)),
            ("gzip;q=1.0, zstd; q=0.5", Some(GZIP)),
            ("*", Some(ZSTD)),
            ("*;q=0.1, zstd;q=0", Some(GZIP)),
            ("identity", None),
            ("gzip;q=0", None),
            ("br", None),
            ("", None),
        ] {
            assert_eq!(choose([accepted].into_iter()), chosen, "{accepted}");
        }
    }

    async fn get(method: Method, length: usize) -> Response {
        let body = "x".repeat(length);
        let inner = poem::endpoint::make_sync(move |_| {
            Response::builder().header(header::CONTENT_LENGTH, body.len()).body(body.clone())
        });
        let request = Request::builder().method(method).header(header::ACCEPT_ENCODING, "gzip").finish();
        Compression { inner }.call(request).await.unwrap()
    }

    #[tokio::test]
    async fn only_long_answers_are_compressed_and_head_tells_the_same() {
        assert_eq!(get(Method::GET, 1000).await.header(header::CONTENT_ENCODING), None);
        for method in [Method::GET, Method::HEAD] {
            let response = get(method, 2000).await;
            assert_eq!(response.header(header::CONTENT_ENCODING), Some("gzip"));
            assert_eq!(response.header(header::VARY), Some("Accept-Encoding"));
            assert_eq!(response.header(header::CONTENT_LENGTH), None);
        }
    }
}
