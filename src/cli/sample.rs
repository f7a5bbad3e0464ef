//! The demo's catalogue: two sound flows whose segments really play, a flow that collects them, a flow that re-uses
//! parts of both, and a flow of data. Made through the same operations that clients use.

use std::num::NonZeroU32;

use anyhow::{Context, ensure};
use bytes::Bytes;
use futures::stream;

use crate::domain::essence::{AudioEssence, DataEssence, MultiEssence};
use crate::domain::{
    CollectionItem, Essence, FlowId, FlowStatus, ObjectId, Rational, SourceId, TagValue, Tags, Technical, TimeRange,
    Timestamp,
};
use crate::media::{Expect, wav};
use crate::operations::{
    FlowRequest, SegmentRequest, StorageRequest, Tams, TechnicalFrom, allocate_storage, put_flow, register_segments,
    write_media,
};

const SEGMENT_SECONDS: i32 = 2;
const SAMPLE_RATE: u32 = 16_000;
const TONE_SEGMENTS: i32 = 150;
const CHORD_SEGMENTS: i32 = 150;
const CUE_SEGMENTS: i32 = 30;

/// Ids of flows to show.
pub struct Sample {
    pub tone: FlowId,
    pub edit: FlowId,
}

/// Fixed ids, so that the demo's URLs stay the same from one start to the next.
struct Ids {
    tone: FlowId,
    chord: FlowId,
    cues: FlowId,
    programme: FlowId,
    edit: FlowId,
}

impl Ids {
    fn new() -> Self {
        let id = |number: u8| FlowId::from_random([number; 16]);
        Self { tone: id(1), chord: id(2), cues: id(3), programme: id(4), edit: id(5) }
    }
}

/// Makes the sample, or the rest of it after an interrupted start. Tells how many segments are done.
pub async fn make(tams: &Tams, is_made: bool, progress: impl Fn(i32, i32)) -> anyhow::Result<Sample> {
    let ids = Ids::new();
    let sample = Sample { tone: ids.tone, edit: ids.edit };
    if is_made {
        return Ok(sample);
    }
    let state = tams.catalog.read().await?;
    ensure!(
        state.flows().next().is_none() || state.flow(ids.tone).is_some(),
        "this data folder holds another catalogue: give the demo a folder of its own with --data-dir"
    );
    let all = TONE_SEGMENTS + CHORD_SEGMENTS + CUE_SEGMENTS;
    progress(0, all);
    put(tams, ids.tone, 11, "Tone", "A sine of 440 Hz", audio(), Some("audio/wav"), vec![]).await?;
    put(tams, ids.chord, 12, "Other tone", "A sine of 660 Hz", audio(), Some("audio/wav"), vec![]).await?;
    put(tams, ids.cues, 13, "Cues", "A line of JSON every ten seconds", data(), Some("application/json"), vec![])
        .await?;
    let members = [(ids.tone, "left"), (ids.chord, "right"), (ids.cues, "cues")].map(|(id, role)| CollectionItem {
        id,
        role: Some(role.into()),
        container_mapping: None,
    });
    let multi = Essence::Multi(Some(MultiEssence { init_segments: None }));
    put(tams, ids.programme, 14, "Programme", "Both tones and the cues", multi, None, members.to_vec()).await?;
    put(tams, ids.edit, 15, "Edit", "Parts of both tones in turn, by reference", audio(), Some("audio/wav"), vec![])
        .await?;

    let mut done = 0;
    for (flow, count, seconds, frequency) in [
        (ids.tone, TONE_SEGMENTS, SEGMENT_SECONDS, Some(440.0)),
        (ids.chord, CHORD_SEGMENTS, SEGMENT_SECONDS, Some(660.0)),
        (ids.cues, CUE_SEGMENTS, 10, None),
    ] {
        for number in 0..count {
            let start = number * seconds;
            let bytes = match frequency {
                Some(frequency) => wav::tone(f64::from(start), f64::from(seconds), frequency, SAMPLE_RATE, 1),
                None => format!("{{\"cue\": {number}, \"at\": \"{start}:0\"}}\n").into_bytes(),
            };
            ingest(tams, flow, number, start, seconds, bytes).await?;
            done += 1;
            progress(done, all);
        }
    }
    edit(tams, &ids).await?;
    Ok(sample)
}

/// Ten seconds of each tone in turn, without a byte of new media.
async fn edit(tams: &Tams, ids: &Ids) -> anyhow::Result<()> {
    let mut requests = Vec::new();
    for number in 0..60_i32 {
        let source = if (number / 5) % 2 == 0 { ids.tone } else { ids.chord };
        // The edit begins at hour 1 and takes its sound from second 60 on. Each Object's own timeline begins at 0.
        let start = 3_600 + number * SEGMENT_SECONDS;
        requests.push(segment(object_id(source, 30 + number)?, start, SEGMENT_SECONDS, start));
    }
    register(tams, ids.edit, requests).await
}

async fn ingest(
    tams: &Tams,
    flow: FlowId,
    number: i32,
    start: i32,
    seconds: i32,
    bytes: Vec<u8>,
) -> anyhow::Result<()> {
    let object_id = object_id(flow, number)?;
    let find = || tams.catalog.ask(|view| view.object(&object_id).map_err(crate::operations::OperationError::from));
    if find().await?.is_none() {
        let request = StorageRequest { object_ids: Some(vec![object_id.clone()]), ..StorageRequest::default() };
        allocate_storage(tams, flow, request).await?;
    }
    let object = find().await?.context("storage was not handed out")?;
    if object.is_registered() {
        return Ok(());
    }
    let key = object.controlled().next().map(|(_, key)| key.to_owned()).context("storage has no key")?;
    let length = bytes.len() as u64;
    let body = stream::iter([Ok::<_, std::io::Error>(Bytes::from(bytes))]);
    let expect = Expect { length: Some(length), sha256: None, md5: None, max_length: length };
    write_media(tams, &object_id, &key, body, expect).await?;
    register(tams, flow, vec![segment(object_id, start, seconds, start)]).await
}

fn object_id(flow: FlowId, number: i32) -> anyhow::Result<ObjectId> {
    Ok(format!("demo/{flow}/{number:04}").parse()?)
}

fn segment(object_id: ObjectId, start: i32, seconds: i32, ts_offset: i32) -> SegmentRequest {
    SegmentRequest {
        object_id,
        timerange: TimeRange::half_open(Timestamp::from_seconds(start), Timestamp::from_seconds(start + seconds)),
        ts_offset: Timestamp::from_seconds(ts_offset),
        object_timerange: None,
        last_duration: None,
        sample_offset: None,
        sample_count: None,
        get_urls: None,
        key_frame_count: None,
        init_object_id: None,
    }
}

async fn register(tams: &Tams, flow: FlowId, requests: Vec<SegmentRequest>) -> anyhow::Result<()> {
    for outcome in register_segments(tams, flow, requests).await? {
        outcome?;
    }
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "each is a column of the table that `make` reads like")]
async fn put(
    tams: &Tams,
    id: FlowId,
    source: u8,
    label: &str,
    description: &str,
    essence: Essence,
    container: Option<&str>,
    flow_collection: Vec<CollectionItem>,
) -> anyhow::Result<()> {
    let codec = match &essence {
        Essence::Audio(_) => Some("audio/x-raw-int".parse()?),
        Essence::Data(_) => Some("application/json".parse()?),
        _ => None,
    };
    let seconds = if matches!(essence, Essence::Data(_)) { 10 } else { 2 };
    let request = FlowRequest {
        id,
        source_id: SourceId::from_random([source; 16]),
        label: Some(label.into()),
        description: Some(description.into()),
        tags: Tags::from([("demo".into(), TagValue::One("yes".into()))]),
        generation: Some(0),
        status: Some(FlowStatus::ClosedComplete),
        read_only: false,
        max_bit_rate: None,
        technical: TechnicalFrom::Client(Box::new(Technical {
            codec,
            container: container.map(str::parse).transpose()?,
            avg_bit_rate: None,
            segment_duration: container
                .and_then(|_| NonZeroU32::new(seconds))
                .map(|numerator| Rational { numerator, denominator: None }),
            container_mapping: None,
            essence,
        })),
        flow_collection,
        metadata_version: None,
        created_by: Some("tamslake demo".into()),
        updated_by: None,
    };
    put_flow(tams, request, None).await?;
    Ok(())
}

fn audio() -> Essence {
    Essence::Audio(AudioEssence {
        sample_rate: NonZeroU32::new(SAMPLE_RATE).unwrap_or(NonZeroU32::MIN),
        channels: NonZeroU32::MIN,
        bit_depth: NonZeroU32::new(16),
        codec_parameters: None,
        unc_parameters: None,
        init_segments: None,
    })
}

fn data() -> Essence {
    Essence::Data(DataEssence { data_type: None, init_segments: None })
}
