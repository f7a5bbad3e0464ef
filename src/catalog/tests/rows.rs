//! Whatever a change holds comes back from a log entry as it was.

use std::num::NonZeroU32;
use std::sync::Arc;

use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use serde::de::DeserializeOwned;

use super::helpers::{flow, start_of_time};
use super::history;
use crate::catalog::cold::{ColdFile, ColdTable, FileMeta};
use crate::catalog::entry::{self, EntryError, Header};
use crate::catalog::rows::{FlowRow, StoredFlow};
use crate::catalog::{Change, Lsn, SegmentKey};
use crate::domain::essence::{AudioEssence, DataEssence, ImageEssence, MultiEssence, VideoEssence};
use crate::domain::{
    Allocation, BitRate, Bound, CollectionItem, CondemnedInstance, ContainerMapping, ContentFormat, Essence, Flow,
    FlowId, FlowSegment, FlowStatus, Instance, MediaObject, ObjectId, ObjectKind, ObjectPlace, Rational, ServiceInfo,
    Source, SourceId, StorageId, TagValue, Tags, Technical, TimeRange, Timestamp, UtcTime,
};

fn text() -> impl Strategy<Value = String> + Clone {
    prop_oneof![Just(String::new()), Just("\0\n\"'\\".into()), Just("日本 \u{1F3AC}".into()), any::<String>()].boxed()
}

/// To the microsecond, over all years that a wall clock may show and many more.
fn time() -> impl Strategy<Value = UtcTime> + Clone {
    let micros = prop_oneof![Just(0), Just(-1), -8_000_000_000_000_000_000..=8_000_000_000_000_000_000i64];
    micros.prop_map(|micros| UtcTime::from_timestamp_micros(micros).unwrap()).boxed()
}

fn timestamp() -> impl Strategy<Value = Timestamp> + Clone {
    let (min, max) = (Timestamp::MIN.nanoseconds(), Timestamp::MAX.nanoseconds());
    prop_oneof![min..=max, min..=min + 1, max - 1..=max, -1_000_000_001i128..=1_000_000_001]
        .prop_map(|ns| Timestamp::from_nanoseconds(ns).unwrap())
        .boxed()
}

fn bound() -> impl Strategy<Value = Bound> {
    (timestamp(), any::<bool>()).prop_map(|(at, inclusive)| Bound { at, inclusive })
}

fn bounded() -> impl Strategy<Value = TimeRange> {
    let range = (bound(), bound()).prop_map(|(one, other)| {
        let (start, end) = if one.at <= other.at { (one, other) } else { (other, one) };
        let range = TimeRange::new(Some(start), Some(end));
        if range.is_never() { TimeRange::instant(start.at) } else { range }
    });
    range.boxed()
}

fn any_range() -> impl Strategy<Value = TimeRange> {
    let range = (of(bound()), of(bound())).prop_map(|(start, end)| TimeRange::new(start, end));
    range.prop_filter("holds time", |range| !range.is_never())
}

fn number() -> impl Strategy<Value = NonZeroU32> + Clone {
    prop_oneof![Just(NonZeroU32::MIN), Just(NonZeroU32::MAX), any::<NonZeroU32>()].boxed()
}

fn signed() -> impl Strategy<Value = i64> + Clone {
    prop_oneof![Just(i64::MIN), Just(i64::MAX), any::<i64>()].boxed()
}

/// As far as the columns reach.
fn rate() -> impl Strategy<Value = u64> + Clone {
    prop_oneof![Just(0), Just(i64::MAX.unsigned_abs()), 0..=i64::MAX.unsigned_abs()].boxed()
}

fn flow_id() -> impl Strategy<Value = FlowId> + Clone {
    any::<[u8; 16]>().prop_map(FlowId::from_random).boxed()
}

fn source_id() -> impl Strategy<Value = SourceId> {
    any::<[u8; 16]>().prop_map(SourceId::from_random)
}

fn storage_id() -> impl Strategy<Value = StorageId> {
    any::<[u8; 16]>().prop_map(StorageId::from_random)
}

fn object_id() -> impl Strategy<Value = ObjectId> + Clone {
    let long = Just("x".repeat(ObjectId::MAX_BYTES));
    let any = r"\PC{1,40}".prop_filter_map("an object id", |text| text.parse::<ObjectId>().ok());
    prop_oneof![1 => long.prop_map(|text| text.parse().unwrap()), 9 => any].boxed()
}

fn tags() -> impl Strategy<Value = Tags> + Clone {
    let value = prop_oneof![text().prop_map(TagValue::One), vec(text(), 0..3).prop_map(TagValue::Many)];
    btree_map(text(), value, 0..4).boxed()
}

fn rational() -> impl Strategy<Value = Rational> + Clone {
    (number(), of(number())).prop_map(|(numerator, denominator)| Rational { numerator, denominator }).boxed()
}

/// A random choice of the keys of a JSON object, besides those that must be there.
fn some_of<T: DeserializeOwned + std::fmt::Debug + 'static>(
    needed: &'static str,
    optional: &'static str,
) -> impl Strategy<Value = T> {
    vec(any::<bool>(), 20).prop_map(move |keep| {
        let mut object: serde_json::Map<_, _> = serde_json::from_str(needed).unwrap();
        let optional: serde_json::Map<_, _> = serde_json::from_str(optional).unwrap();
        assert!(optional.len() <= keep.len());
        object.extend(optional.into_iter().zip(keep).filter(|(_, keep)| *keep).map(|(pair, _)| pair));
        serde_json::from_value(object.into()).unwrap()
    })
}

fn essence() -> impl Strategy<Value = Essence> {
    let video = some_of::<VideoEssence>(
        r#"{"frame_width": 4294967295, "frame_height": 1}"#,
        r#"{"frame_rate": {"numerator": 4294967295}, "vfr": true, "bit_depth": 1, "interlace_mode": "interlaced_psf",
            "colorspace": "BT601", "transfer_characteristic": "PQ", "component_type": "RGB", "horiz_chroma_subs": 1,
            "aspect_ratio": {"numerator": 1, "denominator": 4294967295}, "vert_chroma_subs": 4294967295,
            "pixel_aspect_ratio": {"numerator": 1, "denominator": 2}, "unc_parameters": {"unc_type": "alpha"},
            "avc_parameters": {"profile": -9223372036854775808, "level": 9223372036854775807, "flags": 0},
            "init_segments": false}"#,
    );
    let audio = some_of::<AudioEssence>(
        r#"{"sample_rate": 4294967295, "channels": 4294967295}"#,
        r#"{"bit_depth": 32, "codec_parameters": {"mp4_oti": -1}, "unc_parameters": {"unc_type": "pairs"},
            "init_segments": true}"#,
    );
    let image = some_of::<ImageEssence>(
        r#"{"frame_width": 1, "frame_height": 1}"#,
        r#"{"aspect_ratio": {"numerator": 1, "denominator": 1}}"#,
    );
    let data =
        (of(text()), of(any::<bool>())).prop_map(|(data_type, init_segments)| DataEssence { data_type, init_segments });
    let multi = of(of(any::<bool>()).prop_map(|init_segments| MultiEssence { init_segments }));
    prop_oneof![
        video.prop_map(Essence::Video),
        audio.prop_map(Essence::Audio),
        image.prop_map(Essence::Image),
        data.prop_map(Essence::Data),
        multi.prop_map(Essence::Multi),
    ]
}

fn mapping() -> impl Strategy<Value = ContainerMapping> {
    some_of(
        "{}",
        r#"{"track_index": 4294967295, "format_track_index": 0, "audio_track": {"channel_numbers": [0, 4294967295]},
            "mp2ts_container": {"pid": -1}, "mxf_container": {"track_id": 9223372036854775807},
            "isobmff_container": {}}"#,
    )
}

fn any_flow() -> impl Strategy<Value = Flow> {
    let media_type = || of(select(vec!["video/h264", "a/b;c=\"d\"", "ä/ö"]).prop_map(|text| text.parse().unwrap()));
    let status = select(FlowStatus::WORDS).prop_map(|word| serde_json::from_value(word.into()).unwrap());
    let technical =
        (media_type(), media_type(), of(rate().prop_map(BitRate::unchecked)), of(rational()), of(mapping()), essence());
    let technical =
        technical.prop_map(|(codec, container, avg_bit_rate, segment_duration, container_mapping, essence)| {
            Technical { codec, container, avg_bit_rate, segment_duration, container_mapping, essence }
        });
    let item = (flow_id(), of(text()), of(mapping())).prop_map(|(id, role, container_mapping)| CollectionItem {
        id,
        role,
        container_mapping,
    });
    let ids = (flow_id(), source_id(), of(text()), of(text()), tags(), of(any::<u32>()));
    let rest = (of(status), any::<bool>(), of(rate().prop_map(BitRate::unchecked)), technical, vec(item, 0..3), text());
    let times = (time(), of(text()), time(), of(text()));
    (ids, rest, times).prop_map(|(ids, rest, times)| {
        let (id, source_id, label, description, tags, generation) = ids;
        let (status, read_only, max_bit_rate, technical, flow_collection, metadata_version) = rest;
        let (created, created_by, metadata_updated, updated_by) = times;
        Flow {
            id,
            source_id,
            label,
            description,
            tags,
            generation,
            status,
            read_only,
            max_bit_rate,
            technical,
            profile_id: None,
            flow_collection,
            metadata_version,
            created,
            created_by,
            metadata_updated,
            updated_by,
        }
    })
}

fn any_source() -> impl Strategy<Value = Source> {
    let ids = (source_id(), select(&ContentFormat::ALL[..]), of(text()), of(text()), tags());
    (ids, time(), of(text()), time(), of(text())).prop_map(|(ids, created, created_by, updated, updated_by)| {
        let (id, format, label, description, tags) = ids;
        Source { id, format, label, description, tags, created, created_by, updated, updated_by }
    })
}

fn any_object() -> impl Strategy<Value = MediaObject> {
    let instance = prop_oneof![
        (storage_id(), text()).prop_map(|(storage_id, key)| Instance::Controlled { storage_id, key }),
        (text(), of(text())).prop_map(|(url, label)| Instance::Uncontrolled { url, label }),
    ];
    let allocation =
        time().prop_map(|expires| Allocation { content_type: "application/octet-stream".parse().unwrap(), expires });
    let kind = of(select(vec![ObjectKind::Media, ObjectKind::Init]));
    let ids = (object_id(), kind, flow_id(), of(bounded()), of(signed()), of(object_id()));
    let gone = (storage_id(), text()).prop_map(|(storage_id, key)| CondemnedInstance { storage_id, key });
    (ids, of(allocation), (vec(instance, 0..3), vec(gone, 0..3)), any::<bool>(), (time(), of(signed()))).prop_map(
        |(
            (id, kind, first_flow, timerange, key_frame_count, init_object),
            allocation,
            (instances, condemned_instances),
            condemned,
            (created, size_bytes),
        )| {
            MediaObject {
                id,
                kind,
                first_flow,
                timerange,
                key_frame_count,
                init_object,
                allocation,
                instances,
                condemned_instances,
                condemned,
                created,
                size_bytes,
            }
        },
    )
}

fn any_segment() -> impl Strategy<Value = FlowSegment> {
    let times = (bounded(), timestamp(), of(timestamp()));
    let object = (object_id(), of(object_id()), of((flow_id(), bounded())));
    (flow_id(), times, object, (of(signed()), of(signed())), of(time())).prop_map(
        |(flow_id, (timerange, ts_offset, last_duration), object, (sample_offset, sample_count), registered)| {
            FlowSegment {
                flow_id,
                timerange,
                object_id: object.0,
                ts_offset,
                last_duration,
                sample_offset,
                sample_count,
                init_object: object.1,
                object_place: object.2.map(|(flow_id, range)| ObjectPlace { flow_id, start: range.start_key() }),
                registered,
            }
        },
    )
}

/// Numbers in the log are of 63 bits.
fn long() -> impl Strategy<Value = u64> {
    prop_oneof![0..3u64, 0..=i64::MAX.unsigned_abs()]
}

fn any_file() -> impl Strategy<Value = ColdFile> {
    let lsn = || (long(), any::<u32>()).prop_map(|(seq, index)| Lsn { seq, index });
    let key = || vec(any::<u8>(), 0..60);
    let bytes = (long(), long(), any::<[u8; 32]>(), long(), any::<[u8; 32]>());
    let place = (select(&ColdTable::ALL[..]), text(), key(), key());
    (place, bytes, lsn(), lsn(), long(), long()).prop_map(|(place, bytes, min_lsn, max_lsn, as_of, run)| {
        let (table, path, first_key, last_key) = place;
        let (rows, bytes, sha256, tail_bytes, tail_sha256) = bytes;
        let meta = FileMeta {
            table,
            path,
            rows,
            bytes,
            sha256,
            tail_bytes,
            tail_sha256,
            first_key,
            last_key,
            min_lsn,
            max_lsn,
        };
        ColdFile::new(meta, as_of, run)
    })
}

fn change() -> impl Strategy<Value = Change> {
    let service = (of(text()), of(text()), of(storage_id()))
        .prop_map(|(name, description, local_storage_id)| ServiceInfo { name, description, local_storage_id });
    let key = (flow_id(), bounded()).prop_map(|(flow_id, range)| SegmentKey { flow_id, start: range.start_key() });
    prop_oneof![
        service.prop_map(|row| Change::PutService(Arc::new(row))),
        any_source().prop_map(|row| Change::PutSource(Arc::new(row))),
        any_flow().prop_map(|row| Change::PutFlow(Arc::new(row))),
        any_object().prop_map(|row| Change::PutObject(Arc::new(row))),
        any_segment().prop_map(|row| Change::PutSegment(Arc::new(row))),
        source_id().prop_map(Change::DeleteSource),
        flow_id().prop_map(Change::DeleteFlow),
        (object_id(), flow_id(), of(bounded())).prop_map(|(id, flow_id, range)| {
            let place = |range: TimeRange| ObjectPlace { flow_id, start: range.start_key() };
            Change::DeleteObject(id, range.map_or(ObjectPlace::OF_INIT_OBJECTS, place))
        }),
        key.prop_map(Change::DeleteSegment),
        (flow_id(), any_range()).prop_map(|(flow_id, timerange)| Change::DeleteSegmentsWithin { flow_id, timerange }),
        object_id().prop_map(Change::SuspectObject),
        object_id().prop_map(Change::ClearObject),
        object_id().prop_map(Change::CondemnObject),
        (flow_id(), of(bounded())).prop_map(|(flow_id, extent)| {
            Change::PutColdExtent { flow_id, timerange: extent.unwrap_or(TimeRange::NEVER) }
        }),
        any_file().prop_map(|file| Change::PutFile(Arc::new(file))),
        text().prop_map(Change::RetireFile),
        text().prop_map(Change::ForgetFile),
        long().prop_map(|as_of| Change::Flushed { as_of }),
    ]
}

fn header() -> impl Strategy<Value = Header> {
    (any::<[[u8; 16]; 3]>(), any::<u64>(), time(), any::<[u8; 32]>()).prop_map(
        |([catalogue, entry_id, writer], seq, committed, previous)| Header {
            catalogue,
            seq,
            entry_id,
            writer,
            committed,
            previous,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_entry_is_read_as_it_was_written(header in header(), changes in vec(change(), 0..12)) {
        let (bytes, hash) = entry::encode(&header, &changes).unwrap();
        let read = entry::decode(&bytes).unwrap();
        prop_assert_eq!(read.header, header);
        prop_assert_eq!(read.hash, hash);
        prop_assert_eq!(read.changes, changes);
    }

    #[test]
    fn no_bytes_make_the_reader_of_entries_panic(bytes in vec(any::<u8>(), 0..400)) {
        prop_assert!(entry::decode(&bytes).is_err());
    }
}

#[test]
fn a_flow_of_which_every_column_is_set_comes_back_as_it_was() {
    let stored = StoredFlow { flow: Arc::new(history::everything()), segments_updated: Some(start_of_time()) };
    let row = FlowRow::try_from(&stored).unwrap();
    assert_eq!(StoredFlow::try_from(row).unwrap(), stored);
}

#[test]
fn a_number_that_its_column_cannot_hold_is_refused_and_not_cut() {
    let mut with_rate = flow(1, 1);
    with_rate.technical.avg_bit_rate = Some(BitRate::unchecked(i64::MAX.unsigned_abs() + 1));
    let header = Header {
        catalogue: [0; 16],
        seq: 1,
        entry_id: [0; 16],
        writer: [0; 16],
        committed: start_of_time(),
        previous: [0; 32],
    };
    let error = entry::encode(&header, &[Change::PutFlow(Arc::new(with_rate))]).unwrap_err();
    assert!(matches!(error, EntryError::Content(_)), "{error}");
}
