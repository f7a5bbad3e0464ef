//! Media in its other forms: fragmented MP4 with an init segment, WAV, and an edit made of references to parts of both
//! of two flows, mapped back to the very samples.
//! Spec: POST_flows-flowId-storage, POST_flows-flowId-segments, GET_flows-flowId-segments, GET_objects

use std::path::Path;

use serde_json::{Value, json};
use tamslake::domain::{TimeRange, Timestamp};

use crate::helpers::{Client, Process, TestApp, id, video_flow, with};
use crate::media_end_to_end::{ffmpeg_is_there, run};

/// Hands out storage under these ids and uploads the bytes.
async fn upload(client: &Client, flow: u32, content_type: &str, objects: &[(String, Vec<u8>)]) {
    let ids: Vec<&String> = objects.iter().map(|(object_id, _)| object_id).collect();
    let request = json!({"object_ids": ids, "content_type": content_type});
    let storage = client.post(&format!("/flows/{}/storage", id(flow)), &request).await.expect(201);
    for (allocated, (_, bytes)) in storage.json["media_objects"].as_array().unwrap().iter().zip(objects) {
        let put = &allocated["put_url"];
        assert_eq!(put["content-type"], content_type);
        let url = put["url"].as_str().unwrap();
        let stored =
            client.http.put(url).header("content-type", content_type).body(bytes.clone()).send().await.unwrap();
        assert_eq!(stored.status(), 200);
    }
}

async fn bytes_of(client: &Client, holder: &Value) -> Vec<u8> {
    let url = holder["get_urls"][0]["url"].as_str().unwrap();
    let response = client.http.get(url).send().await.unwrap().error_for_status().unwrap();
    response.bytes().await.unwrap().to_vec()
}

/// 10 s of H.264 as an init segment and five fragments.
fn make_fragments(folder: &Path) -> (Vec<u8>, Vec<Vec<u8>>) {
    let playlist = folder.join("video.m3u8");
    let names = folder.join("%03d.m4s");
    let fixed = "-hide_banner -loglevel error -f lavfi -i testsrc2=size=320x180:rate=25:duration=10 -an -c:v libx264 \
                 -preset ultrafast -pix_fmt yuv420p -g 50 -keyint_min 50 -sc_threshold 0 -f hls -hls_time 2 \
                 -hls_playlist_type vod -hls_segment_type fmp4 -hls_fmp4_init_filename init.mp4 -hls_segment_filename";
    let mut arguments: Vec<&str> = fixed.split_whitespace().collect();
    arguments.extend([names.to_str().unwrap(), playlist.to_str().unwrap()]);
    run("ffmpeg", &arguments);
    let fragments = (0..5).map(|number| std::fs::read(folder.join(format!("{number:03}.m4s"))).unwrap());
    (std::fs::read(folder.join("init.mp4")).unwrap(), fragments.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn fragments_come_back_with_the_init_segment_that_plays_them() {
    if !ffmpeg_is_there() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (init, fragments) = make_fragments(folder.path());
    let data = folder.path().join("data");
    let server = Process::start(&data).unwrap();
    let client = &server.client;
    let flow = with(
        video_flow(1, 101),
        json!({"container": "video/mp4", "essence_parameters": {
            "frame_width": 320, "frame_height": 180, "frame_rate": {"numerator": 25}, "init_segments": true}}),
    );
    client.make(&flow).await;
    upload(client, 1, "video/mp4", &[("init".to_owned(), init.clone())]).await;
    let objects: Vec<(String, Vec<u8>)> =
        (0..).map(|number| format!("fragment-{number}")).zip(fragments.clone()).collect();
    upload(client, 1, "video/iso.segment", &objects).await;
    let requests: Vec<Value> = objects
        .iter()
        .zip(0..)
        .map(|((object_id, _), number)| {
            let timerange = format!("[{}:0_{}:0)", number * 2, number * 2 + 2);
            json!({"object_id": object_id, "init_object_id": "init", "timerange": timerange})
        })
        .collect();
    client.post(&format!("/flows/{}/segments", id(1)), &Value::from(requests)).await.expect(201);
    server.kill();

    let server = Process::start(&data).unwrap();
    let client = &server.client;
    let listed = client.get(&format!("/flows/{}/segments?timerange=[3:0_7:0)", id(1))).await.expect(200);
    let segments = listed.json.as_array().unwrap();
    assert_eq!(segments.len(), 3);
    let mut joined = bytes_of(client, &segments[0]["init_object"]).await;
    assert!(joined == init, "the init segment differs");
    for (segment, fragment) in segments.iter().zip(&fragments[1..4]) {
        assert_eq!(segment["init_object"]["object_id"], "init");
        let bytes = bytes_of(client, segment).await;
        assert!(bytes == *fragment, "{segment}");
        joined.extend(bytes);
    }
    let path = folder.path().join("joined.mp4");
    std::fs::write(&path, joined).unwrap();
    let path = path.to_str().unwrap();
    run("ffmpeg", &["-hide_banner", "-loglevel", "error", "-i", path, "-f", "null", "-"]);
    let count = "-v error -count_frames -select_streams v:0 -show_entries stream=nb_read_frames -of csv=p=0";
    let frames = run("ffprobe", &count.split_whitespace().chain([path]).collect::<Vec<_>>());
    assert_eq!(frames.trim().trim_end_matches(','), "150");
}

const RATE: i128 = 8_000;
const HEADER: usize = 44;

/// The sample of a flow at a place on its timeline: every place and flow has its own.
fn sample(flow: u32, place: i128) -> i16 {
    let value = i16::try_from(place % 30_011).unwrap();
    if flow == 1 { value } else { -value - 1 }
}

/// Two seconds of 16-bit mono.
fn wav(flow: u32, start: i128) -> Vec<u8> {
    let samples: Vec<u8> = (start..start + 2 * RATE).flat_map(|place| sample(flow, place).to_le_bytes()).collect();
    let length = u32::try_from(samples.len()).unwrap();
    let mut bytes = Vec::new();
    bytes.extend(b"RIFF");
    bytes.extend((36 + length).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    bytes.extend(8_000_u32.to_le_bytes());
    bytes.extend(16_000_u32.to_le_bytes());
    bytes.extend(b"\x02\0\x10\0data");
    bytes.extend(length.to_le_bytes());
    assert_eq!(bytes.len(), HEADER);
    bytes.extend(samples);
    bytes
}

fn wav_flow(flow: u32) -> Value {
    json!({
        "id": id(flow), "source_id": id(100 + flow), "format": "urn:x-nmos:format:audio",
        "codec": "audio/x-raw-int", "container": "audio/wav",
        "essence_parameters": {"sample_rate": 8000, "channels": 1, "bit_depth": 16},
    })
}

/// A bounded timerange as places: `[start, end)` in samples.
fn places(text: &str, minus: Timestamp) -> (i128, i128) {
    let range: TimeRange = text.parse().unwrap();
    let place = |at: Timestamp| at.checked_sub(minus).unwrap().nanoseconds() * RATE / 1_000_000_000;
    (place(range.start().unwrap().at), place(range.end().unwrap().at))
}

/// All samples of a flow, in order, as a player finds them: flow time minus ts_offset is a place in the object.
async fn played(client: &Client, flow: u32) -> Vec<i16> {
    let path = format!("/flows/{}/segments?include_object_timerange=true", id(flow));
    let listed = client.get(&path).await.expect(200);
    let mut samples = Vec::new();
    for segment in listed.json.as_array().unwrap() {
        let offset = segment["ts_offset"].as_str().map_or(Timestamp::ZERO, |text| text.parse().unwrap());
        let (from, to) = places(segment["timerange"].as_str().unwrap(), offset);
        let (object_from, object_to) = places(segment["object_timerange"].as_str().unwrap(), Timestamp::ZERO);
        assert!(object_from <= from && to <= object_to, "{segment}");
        let bytes = bytes_of(client, segment).await;
        let byte = |place: i128| HEADER + usize::try_from((place - object_from) * 2).unwrap();
        samples.extend(bytes[byte(from)..byte(to)].chunks(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])));
    }
    samples
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_parts_of_two_flows_plays_exactly_their_samples() {
    let app = TestApp::start().await;
    let client = &app.client;
    for flow in [1, 2] {
        client.make(&wav_flow(flow)).await;
        let objects: Vec<(String, Vec<u8>)> =
            (0..5).map(|number| (format!("wav-{flow}-{number}"), wav(flow, number * 2 * RATE))).collect();
        upload(client, flow, "audio/wav", &objects).await;
        for number in 0..5 {
            let timerange = format!("[{}:0_{}:0)", number * 2, number * 2 + 2);
            let request = json!({"object_id": format!("wav-{flow}-{number}"), "timerange": timerange});
            client.post(&format!("/flows/{}/segments", id(flow)), &request).await.expect(201);
        }
        let whole: Vec<i16> = (0..10 * RATE).map(|place| sample(flow, place)).collect();
        assert!(played(client, flow).await == whole, "flow {flow} as it went in");
    }

    // Halves and quarters of objects, earlier and later than they were, the same one twice.
    client.make(&wav_flow(3)).await;
    let parts: [(u32, &str, &str, &str, i128, i128); 5] = [
        (1, "wav-1-1", "[-1:0_0:0)", "-3:500000000", 20_000, 28_000),
        (2, "wav-2-2", "[0:0_1:500000000)", "-4:0", 32_000, 44_000),
        (1, "wav-1-0", "[1:500000000_1:750000000)", "1:500000000", 0, 2_000),
        (2, "wav-2-4", "[100:0_102:0)", "92:0", 64_000, 80_000),
        (1, "wav-1-1", "[102:0_103:0)", "100:0", 16_000, 24_000),
    ];
    let requests: Vec<Value> = parts
        .iter()
        .map(|(_, object_id, timerange, ts_offset, ..)| {
            json!({"object_id": object_id, "timerange": timerange, "ts_offset": ts_offset})
        })
        .collect();
    client.post(&format!("/flows/{}/segments", id(3)), &Value::from(requests)).await.expect(201);
    let wanted: Vec<i16> =
        parts.iter().flat_map(|(flow, .., from, to)| (*from..*to).map(|place| sample(*flow, place))).collect();
    assert!(played(client, 3).await == wanted, "the edit");

    // What the edit refers to outlives the flows that brought it; what it does not use is gone.
    client.delete(&format!("/flows/{}", id(1))).await.expect(204);
    client.delete(&format!("/flows/{}/segments", id(2))).await.expect(204);
    client.get("/objects/wav-1-3").await.expect(404);
    assert!(played(client, 3).await == wanted, "the edit without its sources");
}
