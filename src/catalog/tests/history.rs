//! A short history in which every kind of change happens, most of them more than once.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::helpers::{
    flow, flow_id, media, object_id, put_flow, put_object, put_segment, put_source, range, register, second, source_id,
    start_of_time,
};
use crate::catalog::{Catalog, Change, SegmentKey, State};
use crate::clock::Clock;
use crate::domain::essence::VideoEssence;
use crate::domain::flow::{AudioTrack, IsobmffContainer, Mp2tsContainer, MxfContainer};
use crate::domain::{
    Allocation, BitRate, CollectionItem, ContainerMapping, Essence, Flow, FlowSegment, FlowStatus, Instance,
    MediaObject, ObjectKind, Rational, ServiceInfo, StorageId, TagValue, Technical, TimeRange,
};

pub const SEGMENT_SPLIT_BY_AN_INSTANT: [&str; 3] = ["[-2:0_-1:0)", "[-1:0]", "(-1:0_0:0)"];

fn service(name: &str) -> Change {
    Change::PutService(Arc::new(ServiceInfo {
        name: Some(name.into()),
        description: Some("für Tests".into()),
        local_storage_id: Some(StorageId::from_random([9; 16])),
    }))
}

fn allocated(id: &str, expires_after: u64) -> MediaObject {
    MediaObject {
        kind: None,
        timerange: None,
        allocation: Some(Allocation {
            content_type: "video/mp2t".parse().unwrap(),
            expires: start_of_time() + Duration::from_secs(expires_after),
        }),
        instances: vec![Instance::Controlled { storage_id: StorageId::from_random([9; 16]), key: format!("key-{id}") }],
        ..media(id, 1)
    }
}

/// The changes of each commit, in order.
pub fn history() -> Vec<Vec<Change>> {
    let mut tagged = flow(1, 1);
    tagged.tags.insert("list".into(), TagValue::Many(vec!["x".into()]));
    tagged.tags.insert("text".into(), TagValue::One("x".into()));
    let collector = Flow {
        flow_collection: vec![CollectionItem { id: flow_id(1), role: Some("video".into()), container_mapping: None }],
        ..flow(3, 2)
    };
    let with_init = MediaObject { init_object: Some(object_id("init")), ..media("needs-init", 2) };
    let elsewhere = MediaObject {
        instances: vec![Instance::Uncontrolled { url: "https://example.com/a".into(), label: Some("web".into()) }],
        ..media("elsewhere", 1)
    };
    let offset = FlowSegment {
        ts_offset: "5:5".parse().unwrap(),
        last_duration: Some("0:40000000".parse().unwrap()),
        sample_offset: Some(-1),
        sample_count: Some(50),
        ..super::helpers::segment(2, range("(7:0_8:1]"), "elsewhere")
    };
    let mut parts = vec![put_object(media("parts", 1))];
    parts.extend(SEGMENT_SPLIT_BY_AN_INSTANT.map(|timerange| put_segment(1, range(timerange), "parts")));
    vec![
        vec![service("one"), put_source(1), Change::PutFlow(Arc::new(tagged))],
        vec![put_flow(2, 1), put_source(2), Change::PutFlow(Arc::new(collector))],
        vec![
            put_object(allocated("in-time", 60)),
            put_object(allocated("too-late", 60)),
            put_object(allocated("c", 90)),
        ],
        parts,
        vec![
            put_object(MediaObject { kind: Some(ObjectKind::Init), timerange: None, ..media("init", 2) }),
            put_object(with_init),
            put_segment(2, second(1), "needs-init"),
        ],
        vec![put_object(elsewhere), Change::PutSegment(Arc::new(offset)), put_segment(1, second(30), "elsewhere")],
        register(1, 10, "ten"),
        vec![
            put_object(MediaObject { kind: Some(ObjectKind::Media), ..allocated("in-time", 60) }),
            put_segment(1, second(11), "in-time"),
            put_segment(1, second(12), "in-time"),
        ],
        vec![
            Change::DeleteSegment(SegmentKey { flow_id: flow_id(1), start: second(10).start_key() }),
            put_object(MediaObject { condemned: true, ..allocated("too-late", 60) }),
        ],
        vec![Change::DeleteSegmentsWithin { flow_id: flow_id(1), timerange: range("_-0:500000000]") }, service("two")],
        vec![
            Change::DeleteSegmentsWithin { flow_id: flow_id(2), timerange: TimeRange::ETERNITY },
            Change::DeleteFlow(flow_id(2)),
            Change::DeleteObject(object_id("needs-init"), media("needs-init", 2).place()),
        ],
        vec![put_flow(3, 1), Change::DeleteSource(source_id(2)), Change::PutFlow(Arc::new(everything()))],
    ]
}

/// A Flow of which every column is set.
pub fn everything() -> Flow {
    let json = |text: &str| -> VideoEssence { serde_json::from_str(text).unwrap() };
    let mapping = ContainerMapping {
        track_index: Some(1),
        format_track_index: Some(2),
        audio_track: Some(AudioTrack { channel_numbers: Some(vec![0, 1]), channel_range: Some("0_1".into()) }),
        mp2ts_container: Some(Mp2tsContainer { pid: Some(8_191) }),
        mxf_container: Some(MxfContainer { package_uid: Some("urn:uuid:x".into()), track_id: Some(-1) }),
        isobmff_container: Some(IsobmffContainer { track_id: Some(3) }),
    };
    Flow {
        label: Some("Ünïcödé \u{1F3AC}".into()),
        description: Some(String::new()),
        tags: [
            ("".into(), TagValue::One(String::new())),
            ("none".into(), TagValue::Many(Vec::new())),
            ("two".into(), TagValue::Many(vec!["a".into(), "b".into()])),
        ]
        .into(),
        generation: Some(u32::MAX),
        status: Some(FlowStatus::ReplicationInProgress),
        read_only: true,
        max_bit_rate: Some(BitRate::unchecked(i64::MAX.unsigned_abs())),
        technical: Technical {
            codec: Some("video/h264".parse().unwrap()),
            container: Some("video/mp2t;codecs=\"x\"".parse().unwrap()),
            avg_bit_rate: Some(BitRate::unchecked(0)),
            segment_duration: Some(Rational { numerator: NonZeroU32::MAX, denominator: Some(NonZeroU32::MIN) }),
            container_mapping: Some(mapping.clone()),
            essence: Essence::Video(json(
                r#"{"frame_width": 1920, "frame_height": 1080, "frame_rate": {"numerator": 30000, "denominator": 1001},
                    "vfr": false, "bit_depth": 10, "interlace_mode": "interlaced_tff", "colorspace": "BT2100",
                    "transfer_characteristic": "HLG", "aspect_ratio": {"numerator": 16, "denominator": 9},
                    "pixel_aspect_ratio": {"numerator": 1, "denominator": 1}, "component_type": "YCbCr",
                    "horiz_chroma_subs": 2, "vert_chroma_subs": 1, "unc_parameters": {"unc_type": "v210"},
                    "avc_parameters": {"profile": 122, "level": 42, "flags": 0}, "init_segments": true}"#,
            )),
        },
        profile_id: None,
        flow_collection: vec![CollectionItem {
            id: flow_id(2),
            role: Some("äöü".into()),
            container_mapping: Some(mapping),
        }],
        metadata_version: "v1".into(),
        created_by: Some("somebody".into()),
        updated_by: Some("somebody else".into()),
        ..flow(1, 1)
    }
}

/// Commits the history, a second apart; the state after each entry, from 0.
pub async fn write(catalog: &Catalog, clock: &Clock) -> Vec<Arc<State>> {
    let mut states = vec![catalog.snapshot()];
    for changes in history() {
        clock.advance(Duration::from_secs(1));
        super::helpers::put(catalog, changes).await.unwrap();
        states.push(catalog.snapshot());
    }
    states
}
