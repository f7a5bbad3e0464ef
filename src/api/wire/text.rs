//! Texts of the domain as the API documents and parses them.

use std::str::FromStr;

use chrono::SecondsFormat;
use poem_openapi::registry::MetaSchema;
use poem_openapi::types::{ParseError, ParseFromParameter, ParseResult};
use serde::{Serialize, Serializer};

use super::shape::{inline, one_word_of};
use crate::domain::{
    BitRate, ContentFormat, DeleteRequestId, DeleteStatus, FlowId, FlowStatus, MimeType, ObjectId, ProfileId, SourceId,
    StorageId, TagValue, TimeRange, Timestamp, UtcTime, WebhookId,
};

macro_rules! text {
    ($type:ty, $name:literal, $schema:expr) => {
        api_type!([] $type, $name, inline(MetaSchema { ..$schema }), |_| {});
    };
}

macro_rules! text_of_a_path {
    ($($type:ty),+) => {$(
        impl ParseFromParameter for $type {
            fn parse_from_parameter(text: &str) -> ParseResult<Self> {
                text.parse().map_err(ParseError::custom)
            }
        }
    )+};
}

fn text_schema(pattern: &str, example: &str) -> MetaSchema {
    MetaSchema {
        pattern: (!pattern.is_empty()).then(|| pattern.to_owned()),
        example: Some(example.into()),
        ..MetaSchema::new("string")
    }
}

fn uuid_schema() -> MetaSchema {
    MetaSchema {
        format: Some("uuid"),
        ..text_schema(
            "^[0-9a-f]{8}-[0-9a-f]{4}-[1-5][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$",
            "2f8c1c1e-7d6b-4a39-9d0e-0d5a3f0f6b11",
        )
    }
}

text!(FlowId, "flow_id", uuid_schema());
text!(SourceId, "source_id", uuid_schema());
text!(StorageId, "storage_id", uuid_schema());
text!(WebhookId, "webhook_id", uuid_schema());
text!(ProfileId, "profile_id", uuid_schema());
text!(DeleteRequestId, "delete_request_id", uuid_schema());
text!(ObjectId, "object_id", text_schema("", "camera-1/2026-08-14/0001.ts"));
text!(BitRate, "bit_rate", MetaSchema { minimum: Some(0.0), ..MetaSchema::new_with_format("integer", "int64") });
text!(MimeType, "mime_type", text_schema(MimeType::PATTERN, "video/h264"));
text!(Timestamp, "timestamp", text_schema(r"^-?(0|[1-9][0-9]*):(0|[1-9][0-9]{0,8})$", "1693234800:0"));
text!(TimeRange, "timerange", text_schema("", "[0:0_10:0)"));
text_of_a_path!(DeleteRequestId, FlowId, SourceId, ObjectId, ProfileId, TagName, WebhookId);

api_type!(
    [] ContentFormat,
    "content_format",
    one_word_of(&ContentFormat::ALL.map(ContentFormat::urn)),
    |_| {}
);
/// As the API writes it.
#[derive(Debug, Clone, Copy)]
pub struct DeleteStatusWord(pub DeleteStatus);

impl Serialize for DeleteStatusWord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.word())
    }
}

api_type!([] DeleteStatusWord, "delete_status", one_word_of(&["created", "started", "done"]), |_| {});

api_type!([] FlowStatus, "flow_status", one_word_of(FlowStatus::WORDS), |_| {});

api_type!(
    [] TagValue,
    "tag_value",
    inline(MetaSchema {
        one_of: vec![
            <String as poem_openapi::types::Type>::schema_ref(),
            <Vec<String> as poem_openapi::types::Type>::schema_ref(),
        ],
        ..MetaSchema::ANY
    }),
    |_| {}
);

/// A wall-clock time as RFC 3339, in UTC with a `Z`.
#[derive(Debug, Clone, Copy)]
pub struct Time(pub UtcTime);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

api_type!([] Time, "time", inline(MetaSchema::new_with_format("string", "date-time")), |_| {});

/// A tag's name in a path. What cannot be written in a header or a log line cannot be a name.
#[derive(Debug, Clone)]
pub struct TagName(pub String);

#[derive(Debug, thiserror::Error)]
#[error("a tag name has 1 to {} bytes and no control characters", TagName::MAX_BYTES)]
pub struct InvalidTagName;

impl TagName {
    pub const MAX_BYTES: usize = 1024;
}

impl FromStr for TagName {
    type Err = InvalidTagName;
    fn from_str(text: &str) -> Result<Self, InvalidTagName> {
        if text.is_empty() || text.len() > Self::MAX_BYTES || text.chars().any(char::is_control) {
            return Err(InvalidTagName);
        }
        Ok(Self(text.to_owned()))
    }
}

text!(TagName, "tag_name", text_schema("", "genre"));

/// Whether a text is a media type without parameters whose first part is registered or starts with `x-`: narrower than
/// what a Flow's codec may be, and what requests for storage and the codec filter are held to (`mime-type.json`).
pub fn is_plain_mime_type(text: &str) -> bool {
    const KINDS: [&str; 10] =
        ["application", "audio", "font", "example", "image", "message", "model", "multipart", "text", "video"];
    let token = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+.^_`|~-".contains(&b))
    };
    text.split_once('/').is_some_and(|(kind, subtype)| {
        (KINDS.contains(&kind) || kind.strip_prefix("x-").is_some_and(token)) && token(subtype)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc_with_as_many_digits_as_they_need() {
        let at = |micros| serde_json::to_string(&Time(UtcTime::from_timestamp_micros(micros).unwrap())).unwrap();
        assert_eq!(at(1_786_698_000_000_000), "\"2026-08-14T09:00:00Z\"");
        assert_eq!(at(1_786_698_000_120_000), "\"2026-08-14T09:00:00.120Z\"");
    }

    #[test]
    fn a_plain_mime_type_has_a_known_kind_and_no_parameters() {
        for good in ["video/mp2t", "application/vnd.apple.mpegurl", "x-vendor/raw"] {
            assert!(is_plain_mime_type(good), "{good}");
        }
        for bad in ["", "video", "foo/bar", "text/plain;charset=utf-8", "video/", "x-/a", "video/a b"] {
            assert!(!is_plain_mime_type(bad), "{bad}");
        }
    }

    #[test]
    fn a_tag_name_has_no_control_characters() {
        assert!("a/b ü.c".parse::<TagName>().is_ok());
        for bad in ["", "a\0b", "a\nb"] {
            assert!(bad.parse::<TagName>().is_err(), "{bad:?}");
        }
    }
}
