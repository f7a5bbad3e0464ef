//! Segments as JSON, in both directions.

use std::fmt;

use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use poem_openapi::types::Type;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::object::GetUrl;
use super::shape::{Property, inline, object_schema};
use super::text::Time;
use crate::api::dialect::Dialect;
use crate::api::error::{ApiError, Detail, DetailKind, Place};
use crate::domain::{FlowSegment, ObjectId, TimeRange, Timestamp};
use crate::operations::{SegmentRequest, UncontrolledUrl};

/// A URL of bytes that somebody else keeps. Written out, because a label is required in 8.2 and optional in 7.0: which
/// of them it is shows in [`SegmentPost::into_request`].
#[derive(Debug, Deserialize)]
pub struct GetUrlPost {
    url: String,
    #[serde(default, deserialize_with = "super::present")]
    label: Option<String>,
}

api_type!([] GetUrlPost, "GetUrlPost", MetaSchemaRef::Reference("GetUrlPost".to_owned()), |registry| {
    registry.create_schema::<Self, _>("GetUrlPost".to_owned(), |_| {
        let text = |key, doc| Property { key, doc, schema: String::schema_ref(), required: true };
        object_schema("A URL of bytes that somebody else keeps.", vec![
            text("url", "An http or https URL."),
            text("label", "Name of the place, once in an object and not that of a storage backend."),
        ])
    });
});

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

impl SegmentPost {
    /// `place` is where the segment stands in the body's list, if that is one.
    pub fn into_request(self, dialect: Dialect, place: Option<usize>) -> Result<SegmentRequest, ApiError> {
        if dialect.requires_labels()
            && let Some(nameless) = self.get_urls.iter().flatten().position(|url| url.label.is_none())
        {
            let loc = [Some(Place::Name("body".into())), place.map(Place::Index)].into_iter().flatten();
            let loc = loc.chain([Place::Name("get_urls".into()), Place::Index(nameless), Place::Name("label".into())]);
            return Err(Detail::new(DetailKind::Missing, loc.collect(), "required").into());
        }
        let urls = |urls: Vec<GetUrlPost>| {
            urls.into_iter().map(|at| UncontrolledUrl { url: at.url, label: at.label }).collect()
        };
        Ok(SegmentRequest {
            object_id: self.object_id,
            timerange: self.timerange,
            ts_offset: self.ts_offset.unwrap_or(Timestamp::ZERO),
            object_timerange: self.object_timerange,
            last_duration: self.last_duration,
            sample_offset: self.sample_offset,
            sample_count: self.sample_count,
            get_urls: self.get_urls.map(urls),
            key_frame_count: self.key_frame_count,
            init_object_id: self.init_object_id,
        })
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
            r#"{"object_id":"o1","timerange":"[0:0_1:0)","get_urls":[{"url":"https://a","label":null}]}"#,
            "body.get_urls[0].label",
            "string_type",
        );
        place(r#"{"object_id":"","timerange":"[0:0_1:0)"}"#, "body.object_id", "string_pattern_mismatch");
        place(r#""text""#, "body", "model_type");
        place("[[]]", "body[0]", "model_type");
        place("{", "body", "json_invalid");
    }

    #[test]
    fn labels_are_required_since_8_0() {
        let one = r#"{"object_id":"o1","timerange":"[0:0_1:0)","get_urls":[{"url":"https://a","label":"a"},{"url":"https://b"}]}"#;
        let segment = || match parse(one) {
            Ok(Segments::One(segment)) => segment,
            other => panic!("{other:?}"),
        };
        for (place, path) in [(None, "body.get_urls[1].label"), (Some(2), "body[2].get_urls[1].label")] {
            let error = segment().into_request(Dialect::V8_2, place).unwrap_err();
            assert_eq!((error.details()[0].path().as_str(), error.details()[0].kind.word()), (path, "missing"));
        }
        let request = segment().into_request(Dialect::V7_0, None).unwrap();
        assert_eq!(request.get_urls.unwrap()[1].label, None);
    }
}
