//! Segments as JSON, in both directions.

use std::fmt;

use poem_openapi::registry::MetaSchema;
use poem_openapi::types::Type;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::object::GetUrl;
use super::shape::inline;
use super::text::Time;
use crate::domain::{FlowSegment, ObjectId, TimeRange, Timestamp};
use crate::operations::{SegmentRequest, UncontrolledUrl};

shape! {
    /// A URL of bytes that somebody else keeps.
    #[derive(Deserialize)]
    struct GetUrlPost as "GetUrlPost" {
        required {
            /// An http or https URL.
            url as "url": String,
            /// Name of the place, once in an object and not that of a storage backend.
            label as "label": String,
        }
        optional {}
    }
}

shape! {
    /// A segment to register.
    #[derive(Deserialize)]
    struct SegmentPost as "SegmentPost" {
        required {
            /// The object that holds the media.
            object_id as "object_id": ObjectId,
            /// On the Flow's timeline: bounded, not empty, and free.
            timerange as "timerange": TimeRange,
        }
        optional {
            /// The object that decoding starts with, for Flows with init_segments.
            init_object_id as "init_object_id": ObjectId,
            /// Flow time is object time plus this.
            ts_offset as "ts_offset": Timestamp,
            /// Timerange of the whole object on its own timeline; where it is not given, what the segment uses.
            object_timerange as "object_timerange": TimeRange,
            /// Duration of the last sample, where it differs.
            last_duration as "last_duration": Timestamp,
            /// Deprecated; kept and shown again.
            sample_offset as "sample_offset": i64,
            /// Deprecated; kept and shown again.
            sample_count as "sample_count": i64,
            /// Where the bytes of an object can be had that this server does not keep.
            get_urls as "get_urls": Vec<GetUrlPost>,
            /// Key frames in the object.
            key_frame_count as "key_frame_count": i64,
        }
    }
}

impl From<SegmentPost> for SegmentRequest {
    fn from(post: SegmentPost) -> Self {
        let urls = |urls: Vec<GetUrlPost>| {
            urls.into_iter().map(|at| UncontrolledUrl { url: at.url, label: at.label }).collect()
        };
        Self {
            object_id: post.object_id,
            timerange: post.timerange,
            ts_offset: post.ts_offset.unwrap_or(Timestamp::ZERO),
            object_timerange: post.object_timerange,
            last_duration: post.last_duration,
            sample_offset: post.sample_offset,
            sample_count: post.sample_count,
            get_urls: post.get_urls.map(urls),
            key_frame_count: post.key_frame_count,
            init_object_id: post.init_object_id,
        }
    }
}

/// One segment, which succeeds or fails as the request, or a list, whose items succeed or fail one by one.
#[derive(Debug)]
pub enum Segments {
    One(Box<SegmentPost>),
    Many(Vec<SegmentPost>),
}

impl<'de> Deserialize<'de> for Segments {
    // By hand: serde's untagged enums forget where in the text an error was.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Segments;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a segment or a list of segments")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Segments, A::Error> {
                SegmentPost::deserialize(MapAccessDeserializer::new(map)).map(|one| Segments::One(Box::new(one)))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Segments, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(seq)).map(Segments::Many)
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}

api_type!(
    [] Segments,
    "Segments",
    inline(MetaSchema { one_of: vec![<SegmentPost as Type>::schema_ref(), <Vec<SegmentPost> as Type>::schema_ref()], ..MetaSchema::ANY }),
    <SegmentPost as Type>::register
);

shape! {
    /// What a decoder needs before the segment.
    #[derive(Serialize)]
    struct SegmentInit<'a> as "SegmentInitObject" {
        required {
            object_id as "object_id": &'a ObjectId,
        }
        optional {
            get_urls as "get_urls": Vec<GetUrl<'a>>,
        }
    }
}

shape! {
    /// A segment: a stretch of a Flow's timeline and the object that holds it.
    #[derive(Serialize)]
    struct SegmentShape<'a> as "Segment" {
        required {
            object_id as "object_id": &'a ObjectId,
            timerange as "timerange": TimeRange,
        }
        optional {
            /// Flow time is object time plus this; left out where it is 0:0.
            ts_offset as "ts_offset": Timestamp,
            /// Duration of the last sample, where it differs.
            last_duration as "last_duration": Timestamp,
            /// Timerange of the whole object on its own timeline; only when it is asked for.
            object_timerange as "object_timerange": TimeRange,
            /// Deprecated.
            sample_offset as "sample_offset": i64,
            /// Deprecated.
            sample_count as "sample_count": i64,
            /// Key frames in the object.
            key_frame_count as "key_frame_count": i64,
            init_object as "init_object": SegmentInit<'a>,
            /// Where the bytes can be had; left out where no URL is left after filtering.
            get_urls as "get_urls": Vec<GetUrl<'a>>,
        }
    }
}

impl<'a> SegmentShape<'a> {
    /// The segment itself, without what belongs to its object.
    pub fn new(segment: &'a FlowSegment) -> Self {
        Self {
            object_id: &segment.object_id,
            timerange: segment.timerange,
            ts_offset: Some(segment.ts_offset).filter(|offset| *offset != Timestamp::ZERO),
            last_duration: segment.last_duration,
            object_timerange: None,
            sample_offset: segment.sample_offset,
            sample_count: segment.sample_count,
            key_frame_count: None,
            init_object: None,
            get_urls: None,
        }
    }
}

shape! {
    /// Why a segment of a list was not registered.
    #[derive(Serialize)]
    struct SegmentError<'a> as "SegmentError" {
        required {
            error_type as "type": &'a str,
            summary as "summary": String,
            time as "time": Time,
        }
        optional {}
    }
}

shape! {
    /// A segment of a list that was not registered.
    #[derive(Serialize)]
    struct FailedSegment<'a> as "FailedSegment" {
        required {
            object_id as "object_id": ObjectId,
            timerange as "timerange": TimeRange,
            error as "error": SegmentError<'a>,
        }
        optional {}
    }
}

impl FailedSegment<'static> {
    pub fn new(
        object_id: ObjectId,
        timerange: TimeRange,
        error_type: &'static str,
        summary: String,
        time: Time,
    ) -> Self {
        Self { object_id, timerange, error: SegmentError { error_type, summary, time } }
    }
}

shape! {
    /// The segments of a list that were not registered; the others were.
    #[derive(Serialize)]
    struct FailedSegments<'a> as "FailedSegments" {
        required {
            failed_segments as "failed_segments": Vec<FailedSegment<'a>>,
        }
        optional {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::json::parse_at;

    fn parse(text: &str) -> Result<Segments, (String, &'static str)> {
        parse_at(text.as_bytes(), &["body"])
            .map_err(|error| (error.details()[0].path(), error.details()[0].kind.word()))
    }

    #[test]
    fn an_object_is_one_segment_and_a_list_is_many() {
        let one = r#"{"object_id":"o1","timerange":"[0:0_1:0)","ts_offset":"-1:0","unknown":[]}"#;
        let Ok(Segments::One(segment)) = parse(one) else { panic!() };
        assert_eq!(segment.ts_offset.unwrap(), "-1:0".parse().unwrap());
        let Ok(Segments::Many(segments)) = parse(&format!("[{one},{one}]")) else { panic!() };
        assert_eq!(segments.len(), 2);
        assert!(matches!(parse("[]"), Ok(Segments::Many(none)) if none.is_empty()));
    }

    #[test]
    fn an_error_inside_a_list_is_named_with_its_place() {
        let place =
            |text: &str, path: &str, kind| assert_eq!(parse(text).unwrap_err(), (path.to_owned(), kind), "{text}");
        place(r#"[{"object_id":"o1","timerange":"[0:0_1:0)"},{"object_id":"o2"}]"#, "body[1].timerange", "missing");
        place(r#"[{"object_id":"o1","timerange":"1-2"}]"#, "body[0].timerange", "string_pattern_mismatch");
        place(
            r#"{"object_id":"o1","timerange":"[0:0_1:0)","get_urls":[{"url":"https://a"}]}"#,
            "body.get_urls[0].label",
            "missing",
        );
        place(r#"{"object_id":"","timerange":"[0:0_1:0)"}"#, "body.object_id", "string_pattern_mismatch");
        place(r#""text""#, "body", "model_type");
        place("[[]]", "body[0]", "model_type");
        place("{", "body", "json_invalid");
    }
}
