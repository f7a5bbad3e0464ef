//! Real video in, real video out, over HTTP only, as an encoder and a player would do it.
//! Spec: POST_flows-flowId-storage, POST_flows-flowId-segments, GET_flows-flowId-segments

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::helpers::{Client, Process, id, video_flow};

const SEGMENTS: usize = 15;
const SECONDS: usize = 2;
const FRAME_RATE: usize = 25;

/// Whether ffmpeg is there; where the caller insists on it, or in CI, its absence is a failure.
pub fn ffmpeg_is_there() -> bool {
    if Command::new("ffmpeg").arg("-version").output().is_ok_and(|output| output.status.success()) {
        return true;
    }
    let wanted = std::env::var("TAMSLAKE_TEST_REQUIRE").is_ok_and(|list| list.split(',').any(|name| name == "ffmpeg"));
    assert!(
        !wanted && std::env::var_os("CI").is_none(),
        "this test makes and plays real video: install ffmpeg with `make setup`"
    );
    eprintln!("NOT CHECKED: real media, because ffmpeg is not installed (`make setup` installs it)");
    false
}

pub fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && errors.is_empty(), "{program} {args:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// 30 s of H.264 in MPEG-TS, cut for HLS every 2 s.
fn make_video(folder: &Path) -> Vec<Vec<u8>> {
    let source = format!("testsrc2=size=640x360:rate={FRAME_RATE}:duration={}", SEGMENTS * SECONDS);
    let group = (FRAME_RATE * SECONDS).to_string();
    let names = folder.join("%03d.ts");
    let playlist = folder.join("video.m3u8");
    run(
        "ffmpeg",
        &[
            "-hide_banner",
            "-loglevel",
            "error",
            "-f",
            "lavfi",
            "-i",
            &source,
            "-an",
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-pix_fmt",
            "yuv420p",
            "-g",
            &group,
            "-keyint_min",
            &group,
            "-sc_threshold",
            "0",
            "-f",
            "hls",
            "-hls_time",
            &SECONDS.to_string(),
            "-hls_playlist_type",
            "vod",
            "-hls_segment_filename",
            names.to_str().unwrap(),
            playlist.to_str().unwrap(),
        ],
    );
    (0..SEGMENTS).map(|number| std::fs::read(folder.join(format!("{number:03}.ts"))).unwrap()).collect()
}

async fn ingest(client: &Client, segments: &[Vec<u8>]) {
    let flow = format!("/flows/{}", id(1));
    client.put(&flow, &video_flow(1, 101)).await.expect(201);
    let storage = client.post(&format!("{flow}/storage"), &json!({"limit": SEGMENTS})).await.expect(201);
    let mut requests = Vec::new();
    for (number, (bytes, object)) in segments.iter().zip(storage.json["media_objects"].as_array().unwrap()).enumerate()
    {
        let put = &object["put_url"];
        let uploaded = client
            .http
            .put(put["url"].as_str().unwrap())
            .header("content-type", put["content-type"].as_str().unwrap())
            .body(bytes.clone())
            .send()
            .await
            .unwrap();
        assert_eq!(uploaded.status(), 200, "{}", uploaded.text().await.unwrap());
        let (start, end) = (number * SECONDS, (number + 1) * SECONDS);
        requests.push(json!({"object_id": object["object_id"], "timerange": format!("[{start}:0_{end}:0)")}));
    }
    client.post(&format!("{flow}/segments"), &Value::from(requests)).await.expect(201);
}

/// The bytes of the segments that overlap a timerange, through their URLs.
async fn read_back(client: &Client, timerange: &str) -> Vec<Vec<u8>> {
    let listed = client.get(&format!("/flows/{}/segments?timerange={timerange}", id(1))).await.expect(200);
    let mut bytes = Vec::new();
    for segment in listed.json.as_array().unwrap() {
        let url = segment["get_urls"][0]["url"].as_str().unwrap();
        let response = client.http.get(url).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "video/mp2t");
        bytes.push(response.bytes().await.unwrap().to_vec());
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_encoder_puts_in_a_player_gets_out_byte_for_byte_also_after_a_kill() {
    if !ffmpeg_is_there() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let segments = make_video(folder.path());
    let data = folder.path().join("data");
    let server = Process::start(&data).unwrap();
    ingest(&server.client, &segments).await;

    check(&server.client, &segments, folder.path()).await;
    server.kill();
    let server = Process::start(&data).unwrap();
    check(&server.client, &segments, folder.path()).await;
}

/// `[7:0_15:0)` touches five of the segments: they come back whole, and joined they play for ten seconds.
async fn check(client: &Client, segments: &[Vec<u8>], folder: &Path) {
    let got = read_back(client, "[7:0_15:0)").await;
    assert_eq!(got.len(), 5);
    assert!(got == segments[3..8], "the bytes differ");
    let joined = folder.join("joined.ts");
    std::fs::write(&joined, got.concat()).unwrap();
    let joined = joined.to_str().unwrap();
    // Decoding everything says nothing, so nothing is broken.
    run("ffmpeg", &["-hide_banner", "-loglevel", "error", "-i", joined, "-f", "null", "-"]);
    let frames = run(
        "ffprobe",
        &[
            "-v",
            "error",
            "-count_frames",
            "-select_streams",
            "v:0",
            "-show_entries",
            "stream=nb_read_frames",
            "-of",
            "csv=p=0",
            joined,
        ],
    );
    // A transport stream's programs list their streams again.
    let frames = frames.split_whitespace().next().map(|line| line.trim_end_matches(','));
    assert_eq!(frames, Some((5 * SECONDS * FRAME_RATE).to_string().as_str()));
    let duration = run("ffprobe", &["-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", joined]);
    let duration: f64 = duration.trim().parse().unwrap();
    assert!((duration - 10.0).abs() < 0.1, "{duration} s");
}
