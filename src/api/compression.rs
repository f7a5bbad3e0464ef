//! Compressed answers, for clients that ask. Not poem's middleware: it misspells zstd, compresses answers of a few
//! bytes, and unpacks request bodies without a limit.

use poem::http::{HeaderValue, header};
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
        // HEAD gets no body to compress, and says the length of the plain one.
        let head = request.method() == poem::http::Method::HEAD;
        let mut response = self.inner.call(request).await?.into_response();
        let length = response.header(header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
        if length.is_none_or(|length| length < MIN_BYTES) {
            return Ok(response);
        }
        response.headers_mut().append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        let algorithm = choose(accepted.iter().filter_map(|value| value.to_str().ok()));
        Ok(match algorithm {
            Some(algorithm) if !head => {
                Compress::new(response, algorithm).with_quality(CompressionLevel::Fastest).into_response()
            }
            _ => response,
        })
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
}
