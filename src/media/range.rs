//! Reads the request headers that choose bytes or tell their digest: Range, If-Range, If-None-Match, Content-Digest,
//! Content-MD5. Texts in, values out.
//!
//! Pure. Does not know requests, files or status codes.

use std::fmt;
use std::ops::Range;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use chrono::{DateTime, Utc};

/// White space that HTTP allows around the items of a list.
const BLANK: [char; 2] = [' ', '\t'];

/// What to send for a Range header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RangeOutcome {
    /// Everything, as if no range had been asked for.
    Whole,
    /// These bytes: never empty, never beyond the end.
    Part(Range<u64>),
    /// A well-formed range that lies beyond the end.
    Unsatisfiable,
}

/// Source: RFC 9110 section 14. Several ranges, other units and syntax errors give [`RangeOutcome::Whole`], and so does
/// every range of zero bytes of media: a server may ignore Range, and some players send it always.
pub fn parse_range(header: Option<&str>, length: u64) -> RangeOutcome {
    let Some((first, last)) = header.and_then(single_range) else {
        return RangeOutcome::Whole;
    };
    let range = match (first, last) {
        _ if length == 0 => return RangeOutcome::Whole,
        (Some(first), Some(last)) if last < first => return RangeOutcome::Whole,
        (Some(first), last) => first..last.map_or(length, |last| last.saturating_add(1).min(length)),
        (None, Some(count)) => length.saturating_sub(count)..length,
        (None, None) => return RangeOutcome::Whole,
    };
    if range.is_empty() { RangeOutcome::Unsatisfiable } else { RangeOutcome::Part(range) }
}

/// The two numbers of the only range in a header, each of them if it is there.
fn single_range(header: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (unit, ranges) = header.split_once('=')?;
    if !unit.trim_matches(BLANK).eq_ignore_ascii_case("bytes") {
        return None;
    }
    // A list may hold empty items.
    let mut ranges = ranges.split(',').map(|range| range.trim_matches(BLANK)).filter(|range| !range.is_empty());
    let (first, last) = ranges.next()?.split_once('-')?;
    if ranges.next().is_some() {
        return None;
    }
    Some((digits(first)?, digits(last)?))
}

/// `Some(None)` for no digits, `None` for anything else than digits (`u64::from_str` would take a plus sign). A number
/// that is too large for 64 bits lies beyond the end anyway.
fn digits(text: &str) -> Option<Option<u64>> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(match text {
        "" => None,
        digits => Some(digits.parse().unwrap_or(u64::MAX)),
    })
}

/// True if the client already holds the current bytes. `etag` with its quotes, as sent.
///
/// Source: RFC 9110 section 13.1.2 (weak comparison). Malformed text matches nothing.
pub fn if_none_match(header: Option<&str>, etag: &str) -> bool {
    let Some(header) = header else { return false };
    // What stands between the quotes is all that weak comparison looks at.
    let wanted = etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"');
    let mut rest = header.trim_matches(BLANK);
    if rest == "*" {
        return true;
    }
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        // Commas may stand inside the quotes: take the tag up to its closing quote instead of splitting.
        let tag = rest.strip_prefix("W/").unwrap_or(rest);
        let Some((tag, after)) = tag.strip_prefix('"').and_then(|tag| tag.split_once('"')) else {
            return false;
        };
        if tag == wanted {
            return true;
        }
        rest = after.trim_start_matches(BLANK);
        if !rest.starts_with(',') {
            return false;
        }
    }
}

/// True if a Range header of the same request counts: there is no If-Range, or it names the current bytes. Otherwise the
/// client holds a part of other bytes, and needs everything.
///
/// Source: RFC 9110 section 13.1.5 (strong comparison; a date must be the one sent as Last-Modified). A date cannot tell
/// two versions of the same second apart: clients that upload over old bytes should use the ETag.
pub fn if_range(header: Option<&str>, etag: &str, modified: DateTime<Utc>) -> bool {
    match header.map(|header| header.trim_matches(BLANK)) {
        None => true,
        Some(tag) if tag.ends_with('"') => tag == etag && !tag.starts_with("W/"),
        Some(date) => date == http_date(modified),
    }
}

/// The form of Last-Modified: `Sun, 06 Nov 1994 08:49:37 GMT`.
pub fn http_date(moment: DateTime<Utc>) -> String {
    moment.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// A digest header that cannot be used. The text tells the client what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    #[error("{header} must hold the {bytes} bytes of the digest in base64, not in hexadecimal digits; got {got:?}")]
    NotADigest { header: &'static str, bytes: usize, got: String },
    #[error("write Content-Digest as sha-256=:<base64>: (RFC 9530); got {got:?}")]
    Malformed { got: String },
    #[error("Content-Digest names only {}; add sha-256", .algorithms.join(", "))]
    UnknownAlgorithms { algorithms: Vec<String> },
    #[error("{first} and {second} tell different digests; send one of them, or the same digest in both")]
    Conflict { first: &'static str, second: &'static str },
}

/// A SHA-256 and an MD5, each if a header tells it.
pub type Digests = (Option<[u8; 32]>, Option<[u8; 16]>);

const CONTENT_MD5: &str = "Content-MD5";
const CONTENT_DIGEST: &str = "Content-Digest";
const AMZ_SHA256: &str = "x-amz-checksum-sha256";

/// The digests that a client promises for its body: Content-MD5 (RFC 1864), Content-Digest (RFC 9530; sha-256 and md5
/// are known, others are passed over when a known one is there) and x-amz-checksum-sha256 (clients written for S3).
pub fn parse_expectations(
    content_md5: Option<&str>,
    content_digest: Option<&str>,
    x_amz_checksum_sha256: Option<&str>,
) -> Result<Digests, DigestError> {
    let (sha256, md5) = content_digest.map_or(Ok((None, None)), parse_content_digest)?;
    let amz_sha256 = x_amz_checksum_sha256.map(|text| decode(AMZ_SHA256, text)).transpose()?;
    let content_md5 = content_md5.map(|text| decode(CONTENT_MD5, text)).transpose()?;
    Ok((
        agree((CONTENT_DIGEST, sha256), (AMZ_SHA256, amz_sha256))?,
        agree((CONTENT_DIGEST, md5), (CONTENT_MD5, content_md5))?,
    ))
}

/// A dictionary of byte sequences (RFC 8941): `sha-256=:b64:, sha-512=:b64:;parameter`. Of equal names the last counts.
fn parse_content_digest(header: &str) -> Result<Digests, DigestError> {
    let malformed = || DigestError::Malformed { got: header.to_owned() };
    let (mut sha256, mut md5, mut unknown) = (None, None, Vec::new());
    if header.trim_matches(BLANK).is_empty() {
        return Ok((None, None));
    }
    for member in header.split(',') {
        let (name, value) = member.trim_matches(BLANK).split_once('=').ok_or_else(malformed)?;
        let (value, parameters) =
            value.strip_prefix(':').and_then(|value| value.split_once(':')).ok_or_else(malformed)?;
        if name.is_empty() || !(parameters.is_empty() || parameters.starts_with(';')) {
            return Err(malformed());
        }
        // Names are lowercase in a dictionary; older clients write SHA-256.
        match name.to_ascii_lowercase().as_str() {
            "sha-256" => sha256 = Some(decode(CONTENT_DIGEST, value)?),
            "md5" => md5 = Some(decode(CONTENT_DIGEST, value)?),
            _ => unknown.push(name.to_owned()),
        }
    }
    if sha256.is_none() && md5.is_none() {
        return Err(DigestError::UnknownAlgorithms { algorithms: unknown });
    }
    Ok((sha256, md5))
}

fn decode<const N: usize>(header: &'static str, text: &str) -> Result<[u8; N], DigestError> {
    // Some clients leave the padding off.
    const BASE64: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let bytes = BASE64.decode(text.trim_matches(BLANK)).unwrap_or_default();
    bytes.try_into().map_err(|_| DigestError::NotADigest { header, bytes: N, got: text.to_owned() })
}

fn agree<T: PartialEq + fmt::Debug>(
    (first, one): (&'static str, Option<T>),
    (second, two): (&'static str, Option<T>),
) -> Result<Option<T>, DigestError> {
    match (one, two) {
        (Some(one), Some(two)) if one != two => Err(DigestError::Conflict { first, second }),
        (one, two) => Ok(one.or(two)),
    }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "test data is small")]
mod tests {
    use proptest::prelude::*;

    use super::RangeOutcome::{Part, Unsatisfiable, Whole};
    use super::*;

    fn range(header: &str, length: u64) -> RangeOutcome {
        parse_range(Some(header), length)
    }

    #[test]
    fn without_range_everything_is_sent() {
        assert_eq!(parse_range(None, 10), Whole);
    }

    #[test]
    fn single_ranges_are_cut_at_the_end() {
        assert_eq!(range("bytes=0-0", 10), Part(0..1));
        assert_eq!(range("bytes=0-9", 10), Part(0..10));
        assert_eq!(range("bytes=2-5", 10), Part(2..6));
        assert_eq!(range("bytes=2-99", 10), Part(2..10));
        assert_eq!(range("bytes=9-", 10), Part(9..10));
        assert_eq!(range("bytes=-3", 10), Part(7..10));
        assert_eq!(range("bytes=-99", 10), Part(0..10));
        assert_eq!(range("Bytes= 2-5 ,", 10), Part(2..6));
    }

    #[test]
    fn ranges_beyond_the_end_cannot_be_satisfied() {
        for header in ["bytes=10-", "bytes=10-12", "bytes=-0", "bytes=18446744073709551616-"] {
            assert_eq!(range(header, 10), Unsatisfiable, "{header}");
        }
    }

    #[test]
    fn numbers_larger_than_64_bits_are_numbers() {
        assert_eq!(range("bytes=1-18446744073709551616", 10), Part(1..10));
        assert_eq!(range("bytes=-99999999999999999999999", 10), Part(0..10));
        assert_eq!(range("bytes=0-18446744073709551615", u64::MAX), Part(0..u64::MAX));
    }

    #[test]
    fn what_is_not_one_range_of_bytes_is_ignored() {
        let headers = [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=,",
            "bytes=5-2",
            "bytes=a-b",
            "bytes=+1-2",
            "bytes=1-+2",
            "bytes=--1",
            "bytes=1-2-3",
            "bytes=0x1-2",
            "bytes=1 - 2",
            "bytes=0-1,3-4",
            "frames=0-1",
            "0-1",
            "bytes=٣-٤",
        ];
        for header in headers {
            assert_eq!(range(header, 10), Whole, "{header}");
        }
    }

    #[test]
    fn zero_bytes_are_always_sent_whole() {
        for header in ["bytes=0-", "bytes=0-0", "bytes=-1", "bytes=-0", "bytes=7-"] {
            assert_eq!(range(header, 0), Whole, "{header}");
        }
    }

    proptest! {
        #[test]
        fn any_text_gives_bytes_that_exist(header in "(bytes=)?[0-9a-z,+ -]{0,24}|.*", length in any::<u64>()) {
            if let Part(part) = range(&header, length) {
                prop_assert!(part.start < part.end && part.end <= length);
            }
        }

        #[test]
        fn a_range_is_the_slice_that_it_names(data in prop::collection::vec(any::<u8>(), 1..40), first in 0_usize..50, count in 1_usize..50) {
            let length = data.len() as u64;
            let cut = |outcome| match outcome {
                Part(part) => data[part.start as usize..part.end as usize].to_vec(),
                Whole => data.clone(),
                Unsatisfiable => vec![],
            };
            let closed = cut(range(&format!("bytes={first}-{}", first + count - 1), length));
            prop_assert_eq!(closed, data.iter().copied().skip(first).take(count).collect::<Vec<_>>());
            let open = cut(range(&format!("bytes={first}-"), length));
            prop_assert_eq!(open, data.iter().copied().skip(first).collect::<Vec<_>>());
            let suffix = cut(range(&format!("bytes=-{count}"), length));
            prop_assert_eq!(suffix, data[data.len().saturating_sub(count)..].to_vec());
        }

        #[test]
        fn entity_tags_in_any_text_do_not_panic(header in "[W/\", *a]{0,16}|.*") {
            if_none_match(Some(&header), "\"a\"");
            if_range(Some(&header), "\"a\"", DateTime::UNIX_EPOCH);
        }

        #[test]
        fn digests_in_any_text_do_not_panic(header in "(sha-256|md5)?[=:;,a-z]{0,16}|.*") {
            let _ = parse_expectations(Some(&header), Some(&header), Some(&header));
        }
    }

    #[test]
    fn if_none_match_finds_the_tag_in_a_list() {
        for header in
            ["\"a-1\"", "W/\"a-1\"", "\"x\", \"a-1\"", "\"x,y\",W/\"a-1\" ", " * ", ",, \"a-1\"", "\"\",\"a-1\""]
        {
            assert!(if_none_match(Some(header), "\"a-1\""), "{header}");
        }
        for header in ["", "a-1", "\"a-1", "\"a\"", "w/\"a-1\"", "\"x\" \"a-1\"", "\"x, \"a-1\"\"", "*, \"x\"", "W/"] {
            assert!(!if_none_match(Some(header), "\"a-1\""), "{header}");
        }
        assert!(!if_none_match(None, "\"a-1\""));
    }

    #[test]
    fn if_range_needs_exactly_the_current_version() {
        let modified = DateTime::from_timestamp(784_111_777, 123_456_789).unwrap();
        let etag = "\"a-1\"";
        assert!(if_range(None, etag, modified));
        assert!(if_range(Some("\"a-1\""), etag, modified));
        assert!(if_range(Some("Sun, 06 Nov 1994 08:49:37 GMT"), etag, modified));
        for header in ["", "W/\"a-1\"", "\"a-2\"", "a-1", "*", "Sun, 06 Nov 1994 08:49:38 GMT", "yesterday"] {
            assert!(!if_range(Some(header), etag, modified), "{header}");
        }
    }

    // Digests of no bytes.
    const MD5: &str = "1B2M2Y8AsgTpgAmY7PhCfg==";
    const SHA256: &str = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

    fn content_digest(text: &str) -> Result<Digests, DigestError> {
        parse_expectations(None, Some(text), None)
    }

    #[test]
    fn digests_are_read_from_all_three_headers() {
        let (sha256, md5) = parse_expectations(Some(MD5), None, Some(SHA256)).unwrap();
        assert_eq!(sha256.unwrap()[..2], [0xe3, 0xb0]);
        assert_eq!(md5.unwrap()[..2], [0xd4, 0x1d]);
        assert_eq!(content_digest(&format!("sha-256=:{SHA256}:, md5=:{MD5}:;a=1")), Ok((sha256, md5)));
        assert_eq!(content_digest(&format!("SHA-256=:{}:", SHA256.trim_end_matches('='))), Ok((sha256, None)));
        assert_eq!(parse_expectations(None, Some(" "), None), Ok((None, None)));
        let all = parse_expectations(Some(MD5), Some(&format!("sha-256=:{SHA256}:")), Some(SHA256));
        assert_eq!(all, Ok((sha256, md5)));
    }

    #[test]
    fn an_unknown_algorithm_is_an_error_only_if_it_is_alone() {
        assert!(content_digest(&format!("sha-512=:AAAA:,sha-256=:{SHA256}:")).unwrap().0.is_some());
        let error = content_digest("sha-512=:AAAA:, crc32c=:AAAA:").unwrap_err();
        assert_eq!(error.to_string(), "Content-Digest names only sha-512, crc32c; add sha-256");
    }

    #[test]
    fn digest_errors_tell_what_to_write() {
        let hex = "d41d8cd98f00b204e9800998ecf8427e";
        let error = parse_expectations(Some(hex), None, None).unwrap_err().to_string();
        assert!(error.starts_with("Content-MD5 must hold the 16 bytes of the digest in base64, not in hex"), "{error}");
        for header in [SHA256, "sha-256", "sha-256=", "sha-256=x", "sha-256=:x", "=:AAAA:", "sha-256=:AAAA:x", ","] {
            let error = content_digest(header).unwrap_err();
            assert!(matches!(error, DigestError::Malformed { .. }), "{header} {error:?}");
        }
        for header in ["sha-256=::", "sha-256=:AAAA:", "sha-256=:!:", &format!("sha-256=:{MD5}:")] {
            let error = content_digest(header).unwrap_err();
            assert!(matches!(error, DigestError::NotADigest { .. }), "{header} {error:?}");
        }
    }

    #[test]
    fn two_headers_must_not_contradict_each_other() {
        let other = SHA256.replace('4', "5");
        let error = parse_expectations(None, Some(&format!("sha-256=:{SHA256}:")), Some(&other)).unwrap_err();
        assert_eq!(error, DigestError::Conflict { first: CONTENT_DIGEST, second: AMZ_SHA256 });
        let error = parse_expectations(Some(&MD5.replace('1', "2")), Some(&format!("md5=:{MD5}:")), None).unwrap_err();
        assert_eq!(error, DigestError::Conflict { first: CONTENT_DIGEST, second: CONTENT_MD5 });
    }
}
