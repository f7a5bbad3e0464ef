//! Media bytes at signed URLs. Spec: the put_url of POST_flows-flowId-storage, and get_urls

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use md5::Md5;
use reqwest::RequestBuilder;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tamslake::clock::Clock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::helpers::{Client, TestApp, Wire, id, object_path, video_flow};

/// An answer that need not be JSON.
#[derive(Debug)]
struct Got {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Got {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The `type` of the error body.
    fn error_type(&self) -> String {
        let json: Value = serde_json::from_slice(&self.body).unwrap();
        assert!(json["request_id"].is_string(), "{json}");
        json["type"].as_str().unwrap().to_owned()
    }
}

async fn send(request: RequestBuilder) -> Got {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Got { status, headers, body: response.bytes().await.unwrap() }
}

async fn put(client: &Client, url: &str, bytes: impl Into<reqwest::Body>) -> Got {
    send(client.http.put(url).body(bytes)).await
}

async fn get(client: &Client, url: &str) -> Got {
    send(client.http.get(url)).await
}

fn segments(flow: u32) -> String {
    format!("/flows/{}/segments", id(flow))
}

async fn register(client: &Client, flow: u32, object: &str, timerange: &str) {
    client.post(&segments(flow), &json!({"object_id": object, "timerange": timerange})).await.expect(201);
}

/// The signed URL of an object that is registered.
async fn get_url(client: &Client, object: &str) -> String {
    let answer = client.get(&object_path(object)).await.expect(200);
    answer.json["get_urls"][0]["url"].as_str().unwrap().to_owned()
}

async fn with_flow() -> TestApp {
    let app = TestApp::start().await;
    app.client.make(&video_flow(1, 7)).await;
    app
}

/// Bytes that repeat nowhere near.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

/// Files below a folder.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn stored(app: &TestApp) -> usize {
    files(&app.folder.path().join("data/media")).len()
}

/// Waits until it is so; fails when that takes too long.
async fn until(mut so: impl AsyncFnMut() -> bool) {
    for _ in 0..4_000 {
        if so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it never came to pass");
}

#[tokio::test]
async fn what_is_uploaded_is_read_back_byte_for_byte() {
    let app = with_flow().await;
    let client = &app.client;
    let bytes = noise(3 * 1024 * 1024 + 7);
    let url = client.allocate(1, &["o1", "o2"]).await;
    let uploaded = put(client, &url[0], bytes.clone()).await;
    assert_eq!(uploaded.status, 200);
    let etag = uploaded.header("etag").to_owned();
    assert!(etag.starts_with('"') && etag.ends_with('"'), "{etag}");
    // The same in chunks, without a length.
    let chunks: Vec<Result<Bytes, std::io::Error>> =
        bytes.chunks(100_003).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    assert_eq!(put(client, &url[1], reqwest::Body::wrap_stream(stream::iter(chunks))).await.status, 200);
    register(client, 1, "o1", "[0:0_1:0)").await;
    register(client, 1, "o2", "[1:0_2:0)").await;
    let listed = client.get(&segments(1)).await.json;
    assert_eq!(listed[0]["get_urls"][0]["url"], get_url(client, "o1").await);
    // Both are columns for analysts, and no part of TAMS.
    let told = [listed.to_string(), client.get(&object_path("o1")).await.json.to_string()].concat();
    assert!(!told.contains("size") && !told.contains("\"registered\""), "{told}");
    for object in ["o1", "o2"] {
        let url = get_url(client, object).await;
        let got = get(client, &url).await;
        assert_eq!((got.status, got.body.len()), (200, bytes.len()));
        assert_eq!(got.body, bytes);
        assert_eq!(got.header("content-type"), "video/mp2t");
        assert_eq!(got.header("content-length"), bytes.len().to_string());
        assert_eq!(got.header("accept-ranges"), "bytes");
        assert_eq!(got.header("x-content-type-options"), "nosniff");
        assert!(got.header("last-modified").ends_with(" GMT"));
        assert!(got.header("cache-control").contains("private"), "{got:?}");
        assert!(got.headers.get("content-encoding").is_none());
        let head = send(client.http.head(&url)).await;
        assert_eq!((head.status, head.body.len()), (200, 0));
        for (name, value) in &got.headers {
            if !["date", "x-request-id"].contains(&name.as_str()) {
                assert_eq!(head.headers.get(name), Some(value), "{name}");
            }
        }
    }
    assert_eq!(get(client, &get_url(client, "o1").await).await.header("etag"), etag);
}

#[tokio::test]
async fn media_has_the_content_type_given_at_allocation() {
    let app = with_flow().await;
    let client = &app.client;
    let request = json!({"object_ids": ["o1"], "content_type": "text/html"});
    let answer = client.post(&format!("/flows/{}/storage", id(1)), &request).await.expect(201);
    let url = answer.json["media_objects"][0]["put_url"]["url"].as_str().unwrap().to_owned();
    let upload = client.http.put(&url).header("content-type", "application/javascript").body("<script>");
    assert_eq!(send(upload).await.status, 200);
    register(client, 1, "o1", "[0:0_1:0)").await;
    let got = get(client, &get_url(client, "o1").await).await;
    assert_eq!(got.header("content-type"), "text/html");
    assert_eq!(got.header("x-content-type-options"), "nosniff");
    assert!(got.header("content-security-policy").contains("sandbox"), "media is no page of this server: {got:?}");
}

#[tokio::test]
async fn a_range_gives_a_part_and_only_a_part() {
    let app = with_flow().await;
    let client = &app.client;
    let bytes = noise(1000);
    let url = client.allocate(1, &["o1"]).await;
    put(client, &url[0], bytes.clone()).await;
    register(client, 1, "o1", "[0:0_1:0)").await;
    let url = get_url(client, "o1").await;
    let whole = get(client, &url).await;
    let etag = whole.header("etag").to_owned();
    for (range, part) in [
        ("bytes=0-0", 0..1),
        ("bytes=0-999", 0..1000),
        ("bytes=10-19", 10..20),
        ("bytes=990-2000", 990..1000),
        ("bytes=999-", 999..1000),
        ("bytes=0-", 0..1000),
        ("bytes=-1", 999..1000),
        ("bytes=-5000", 0..1000),
        ("bytes=5-18446744073709551616", 5..1000),
    ] {
        let got = send(client.http.get(&url).header("range", range)).await;
        assert_eq!(got.status, 206, "{range}");
        assert_eq!(got.body, bytes[part.clone()], "{range}");
        assert_eq!(got.header("content-range"), format!("bytes {}-{}/1000", part.start, part.end - 1));
        assert_eq!(got.header("content-length"), part.len().to_string());
        assert_eq!((got.header("etag"), got.header("content-type")), (etag.as_str(), "video/mp2t"));
        let head = send(client.http.head(&url).header("range", range)).await;
        assert_eq!((head.status, head.header("content-range")), (got.status, got.header("content-range")));
        assert_eq!(head.header("content-length"), part.len().to_string());
    }
    for range in ["bytes=5-4", "bytes=x", "lines=0-1", "bytes", "bytes=0-1,5-6", "", "bytes=-", "bytes=+1-2"] {
        let got = send(client.http.get(&url).header("range", range)).await;
        assert_eq!((got.status, got.body.len()), (200, 1000), "{range}");
    }
    for range in ["bytes=1000-", "bytes=1000-1001", "bytes=-0", "bytes=99999999999999999999-"] {
        let got = send(client.http.get(&url).header("range", range)).await;
        assert_eq!((got.status, got.error_type().as_str()), (416, "range_not_satisfiable"), "{range}");
        assert_eq!(got.header("content-range"), "bytes */1000");
        let head = send(client.http.head(&url).header("range", range)).await;
        assert_eq!((head.status, head.header("content-range")), (416, "bytes */1000"));
    }
}

#[tokio::test]
async fn a_client_that_has_the_bytes_is_not_sent_them_again() {
    let app = with_flow().await;
    let client = &app.client;
    let url = client.allocate(1, &["o1"]).await;
    put(client, &url[0], "bytes").await;
    register(client, 1, "o1", "[0:0_1:0)").await;
    let url = get_url(client, "o1").await;
    let whole = get(client, &url).await;
    let (etag, modified) = (whole.header("etag").to_owned(), whole.header("last-modified").to_owned());
    for known in [etag.clone(), format!("W/{etag}"), format!("\"x\", {etag}"), "*".into()] {
        for request in [client.http.get(&url), client.http.head(&url)] {
            let got = send(request.header("if-none-match", &known)).await;
            assert_eq!((got.status, got.body.len()), (304, 0), "{known}");
            assert_eq!(got.header("etag"), etag);
        }
    }
    for other in ["\"x\"", "x", "\"", ""] {
        assert_eq!(send(client.http.get(&url).header("if-none-match", other)).await.status, 200, "{other}");
    }
    for (condition, status) in [
        (etag.clone(), 206),
        (modified, 206),
        ("\"x\"".into(), 200),
        (format!("W/{etag}"), 200),
        ("Sun, 06 Nov 1994 08:49:37 GMT".into(), 200),
    ] {
        let got = send(client.http.get(&url).header("range", "bytes=1-2").header("if-range", &condition)).await;
        assert_eq!(got.status, status, "{condition}");
        assert_eq!(got.body.len(), if status == 206 { 2 } else { 5 });
    }
}

#[tokio::test]
async fn a_wrong_checksum_stores_nothing() {
    let app = with_flow().await;
    let client = &app.client;
    let bytes = noise(700_000);
    let (sha256, md5) = (STANDARD.encode(Sha256::digest(&bytes)), STANDARD.encode(Md5::digest(&bytes)));
    let (bad_sha256, bad_md5) = (STANDARD.encode(Sha256::digest("x")), STANDARD.encode(Md5::digest("x")));
    let url = client.allocate(1, &["o1", "o2", "o3", "o4"]).await;
    for (header, value, kind) in [
        ("content-md5", bad_md5.clone(), "checksum_mismatch"),
        ("x-amz-checksum-sha256", bad_sha256.clone(), "checksum_mismatch"),
        ("content-digest", format!("sha-256=:{bad_sha256}:"), "checksum_mismatch"),
        ("content-digest", format!("md5=:{bad_md5}:"), "checksum_mismatch"),
        ("content-md5", "x".into(), "digest_invalid"),
        ("content-md5", sha256.clone(), "digest_invalid"),
        ("x-amz-checksum-sha256", md5.clone(), "digest_invalid"),
        ("content-digest", sha256.clone(), "digest_invalid"),
        ("content-digest", "crc32c=:AAAAAA==:".into(), "digest_invalid"),
    ] {
        let got = send(client.http.put(&url[0]).header(header, &value).body(bytes.clone())).await;
        assert_eq!((got.status, got.error_type().as_str()), (400, kind), "{header}: {value}");
        assert_eq!(stored(&app), 0, "{header}: {value}");
    }
    let contradiction = client.http.put(&url[0]).header("content-digest", format!("sha-256=:{sha256}:"));
    let got = send(contradiction.header("x-amz-checksum-sha256", &bad_sha256).body(bytes.clone())).await;
    assert_eq!(got.status, 400);
    // The bytes that are there stay when an upload over them fails.
    assert_eq!(put(client, &url[0], "old").await.status, 200);
    let got = send(client.http.put(&url[0]).header("content-md5", &bad_md5).body(bytes.clone())).await;
    assert_eq!(got.status, 400);
    register(client, 1, "o1", "[0:0_1:0)").await;
    assert_eq!(get(client, &get_url(client, "o1").await).await.body, "old");

    for (url, header, value) in [
        (&url[1], "content-md5", md5.clone()),
        (&url[2], "x-amz-checksum-sha256", sha256.clone()),
        (&url[3], "content-digest", format!("sha-512=:AAAA:, md5=:{md5}:, sha-256=:{sha256}:")),
    ] {
        let got = send(client.http.put(url).header(header, &value).body(bytes.clone())).await;
        assert_eq!(got.status, 200, "{header}: {value}");
    }
}

#[tokio::test]
async fn chunks_signed_in_the_way_of_s3_are_refused() {
    let app = with_flow().await;
    let url = app.client.allocate(1, &["o1"]).await;
    let got =
        send(app.client.http.put(&url[0]).header("content-encoding", "aws-chunked").body("5;x\r\nbytes\r\n")).await;
    assert_eq!((got.status, stored(&app)), (415, 0));
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing() {
    let app = with_flow().await;
    let client = &app.client;
    let urls = client.allocate(1, &["o1"]).await;
    let target = urls[0].strip_prefix(&client.base).unwrap();
    let part = noise(1_500_000);
    for framing in ["Content-Length: 2000000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n200000\r\n"] {
        let mut stream = TcpStream::connect(client.authority()).await.unwrap();
        stream.write_all(format!("PUT {target} HTTP/1.1\r\nHost: x\r\n{framing}").as_bytes()).await.unwrap();
        stream.write_all(&part).await.unwrap();
        until(async || stored(&app) == 1).await;
        drop(stream);
        until(async || stored(&app) == 0).await;
        // One that says goodbye properly, but too early.
        let mut stream = TcpStream::connect(client.authority()).await.unwrap();
        stream.write_all(format!("PUT {target} HTTP/1.1\r\nHost: x\r\n{framing}").as_bytes()).await.unwrap();
        stream.write_all(&part).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // It may be answered or just closed.
        let _ = stream.read_to_end(&mut answer).await;
        if !answer.is_empty() {
            assert_eq!(Wire::parse(&answer).status, 400);
        }
        until(async || stored(&app) == 0).await;
    }
    register(client, 1, "o1", "[0:0_1:0)").await;
    let url = get_url(client, "o1").await;
    assert_eq!(get(client, &url).await.status, 404, "there are no bytes");
    // They may still come, once.
    assert_eq!(put(client, &urls[0], "late").await.status, 200);
    assert_eq!(get(client, &url).await.body, "late");
    assert_eq!(put(client, &urls[0], "later").await.status, 409);
    assert_eq!(get(client, &url).await.body, "late");
}

#[tokio::test]
async fn a_media_object_longer_than_allowed_is_refused_with_or_without_a_length() {
    let app = TestApp::with(|config| config.http.max_object.0 = 1_000_000, Clock::system()).await;
    let client = &app.client;
    client.make(&video_flow(1, 7)).await;
    let url = client.allocate(1, &["o1"]).await;
    let long = noise(1_000_001);
    let got = put(client, &url[0], long.clone()).await;
    assert_eq!((got.status, got.error_type().as_str()), (413, "too_large"));
    let chunks: Vec<Result<Bytes, std::io::Error>> =
        long.chunks(9_999).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    let got = put(client, &url[0], reqwest::Body::wrap_stream(stream::iter(chunks))).await;
    assert_eq!((got.status, got.error_type().as_str()), (413, "too_large"));
    assert_eq!(stored(&app), 0);
    assert_eq!(put(client, &url[0], long[1..].to_vec()).await.status, 200, "exactly as long as allowed");
}

#[tokio::test]
async fn a_url_that_was_changed_or_has_expired_opens_nothing() {
    let clock = Clock::manual("2026-08-14T09:00:30Z".parse().unwrap(), 1);
    let app = TestApp::with(|_| {}, clock.clone()).await;
    let client = &app.client;
    client.make(&video_flow(1, 7)).await;
    let put_urls = client.allocate(1, &["o1", "o2"]).await;
    for url in &put_urls {
        put(client, url, "bytes").await;
    }
    register(client, 1, "o1", "[0:0_1:0)").await;
    register(client, 1, "o2", "[1:0_2:0)").await;
    let (url, other) = (get_url(client, "o1").await, get_url(client, "o2").await);
    let parameter = |url: &str, name: &str| {
        let start = url.find(&format!("{name}=")).unwrap() + name.len() + 1;
        url[start..].split('&').next().unwrap().to_owned()
    };
    let replaced = |name: &str, value: &str| url.replace(&parameter(&url, name), value);
    let flipped = |text: &str| {
        let last = if text.ends_with('A') { 'B' } else { 'A' };
        format!("{last}{}", &text[1..])
    };
    let expires: i64 = parameter(&url, "expires").parse().unwrap();
    for bad in [
        url.replace("/media/o1", "/media/o2"),
        replaced("key", &parameter(&other, "key")),
        replaced("key", "../../signing.key"),
        replaced("key", ""),
        replaced("expires", &(expires + 1).to_string()),
        replaced("expires", "99999999999999999999"),
        replaced("expires", "x"),
        replaced("signature", &flipped(&parameter(&url, "signature"))),
        replaced("signature", &parameter(&url, "signature")[1..]),
        replaced("signature", &parameter(&other, "signature")),
        replaced("signature", "%FF%00"),
        replaced("signature", ""),
        url.split('?').next().unwrap().to_owned(),
        url.split("&signature").next().unwrap().to_owned(),
        url.replace("/media/o1", "/media/never"),
        put_urls[0].clone(),
    ] {
        let got = get(client, &bad).await;
        assert_eq!((got.status, got.error_type().as_str()), (403, "signature_wrong"), "{bad}");
        let head = send(client.http.head(&bad)).await;
        assert_eq!((head.status, head.body.len()), (403, 0));
        assert_eq!(put(client, &bad, "changed").await.status, if bad == put_urls[0] { 409 } else { 403 }, "{bad}");
    }
    assert_eq!(put(client, &url, "changed").await.status, 403, "a URL to read is none to write");
    for request in [client.http.delete(&url), client.http.post(&url)] {
        let got = send(request).await;
        assert_eq!((got.status, got.header("allow")), (405, "GET, PUT, HEAD, OPTIONS"));
    }

    // It works as long as the service says, and not a second longer than it says itself.
    let service = client.get("/service").await.json;
    let promised: u64 =
        service["min_presigned_url_timeout"].as_str().unwrap().split(':').next().unwrap().parse().unwrap();
    clock.advance(Duration::from_secs(promised));
    assert_eq!(get(client, &url).await.body, "bytes");
    let now = clock.now().timestamp();
    clock.advance(Duration::from_secs(u64::try_from(expires - now - 1).unwrap()));
    assert_eq!(get(client, &url).await.body, "bytes");
    clock.advance(Duration::from_secs(1));
    for got in [get(client, &url).await, put(client, &put_urls[0], "changed").await] {
        assert_eq!((got.status, got.error_type().as_str()), (403, "url_expired"));
    }
    assert_eq!(get(client, &get_url(client, "o1").await).await.body, "bytes", "a new one works");
}

#[tokio::test]
async fn bytes_may_change_until_they_are_registered_and_never_after() {
    let app = with_flow().await;
    let client = &app.client;
    let url = client.allocate(1, &["o1"]).await;
    let first = put(client, &url[0], "first").await;
    let second = put(client, &url[0], "other").await;
    assert_eq!((first.status, second.status), (200, 200));
    assert_ne!(first.header("etag"), second.header("etag"), "other bytes have another tag");
    register(client, 1, "o1", "[0:0_1:0)").await;
    let refused = put(client, &url[0], "third").await;
    assert_eq!((refused.status, refused.error_type().as_str()), (409, "bytes_immutable"));
    let got = get(client, &get_url(client, "o1").await).await;
    assert_eq!((got.body, got.headers["etag"].clone()), ("other".into(), second.headers["etag"].clone()));
    assert_eq!(stored(&app), 1);
}

#[tokio::test]
async fn registration_during_an_upload_decides_whose_bytes_stay() {
    // Whether or not a flush takes the Object out of memory meanwhile.
    for is_flushed in [false, true] {
        let app = with_flow().await;
        let client = &app.client;
        let url = client.allocate(1, &["o1"]).await;
        put(client, &url[0], "registered").await;
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel::<Result<Bytes, std::io::Error>>();
        let body = stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver))).boxed();
        let slow = tokio::spawn(client.http.put(&url[0]).body(reqwest::Body::wrap_stream(body)).send());
        sender.send(Ok("late ".into())).unwrap();
        until(async || stored(&app) == 2).await;
        register(client, 1, "o1", "[0:0_1:0)").await;
        if is_flushed {
            client.post("/_tamslake/flush", &json!({})).await.expect(200);
        }
        sender.send(Ok("bytes".into())).unwrap();
        drop(sender);
        assert_eq!(slow.await.unwrap().unwrap().status(), 409);
        assert_eq!(get(client, &get_url(client, "o1").await).await.body, "registered");
        until(async || stored(&app) == 1).await;
    }
}

#[tokio::test]
async fn the_last_reference_takes_the_bytes_along() {
    let app = with_flow().await;
    let client = &app.client;
    client.make(&video_flow(2, 7)).await;
    for url in client.allocate(1, &["o1", "o2", "o3"]).await {
        assert_eq!(put(client, &url, "bytes").await.status, 200);
    }
    register(client, 1, "o1", "[0:0_1:0)").await;
    register(client, 1, "o2", "[1:0_2:0)").await;
    register(client, 2, "o2", "[1:0_2:0)").await;
    let (first, second) = (get_url(client, "o1").await, get_url(client, "o2").await);
    assert_eq!(stored(&app), 3);
    client.delete(&segments(1)).await.expect(204);
    assert_eq!(get(client, &first).await.status, 404);
    client.get("/objects/o1").await.expect(404);
    until(async || stored(&app) == 2).await;
    assert_eq!(get(client, &second).await.body, "bytes", "Flow 2 still uses it");
    client.delete(&format!("/flows/{}", id(2))).await.expect(204);
    until(async || stored(&app) == 1).await;
    assert_eq!(get(client, &second).await.status, 404);
    // The third was never registered and still waits. The ids of the others are free again.
    until(async || {
        let request = json!({"object_ids": ["o1", "o2"]});
        client.post(&format!("/flows/{}/storage", id(1)), &request).await.status == 201
    })
    .await;
    client.post(&format!("/flows/{}/storage", id(1)), &json!({"object_ids": ["o3"]})).await.expect(400);
}

#[tokio::test]
async fn storage_that_nobody_registers_is_collected_when_its_time_is_over() {
    let clock = Clock::manual("2026-08-14T09:00:00Z".parse().unwrap(), 1);
    let app = TestApp::with(
        |config| {
            config.media.url_ttl.0 = Duration::from_secs(600);
            config.media.object_timeout.0 = Duration::from_secs(600);
        },
        clock.clone(),
    )
    .await;
    let client = &app.client;
    client.make(&video_flow(1, 7)).await;
    for url in client.allocate(1, &["kept", "waits", "lost"]).await {
        assert_eq!(put(client, &url, "bytes").await.status, 200);
    }
    register(client, 1, "kept", "[0:0_1:0)").await;
    clock.advance(Duration::from_secs(599));
    // Each deletion wakes the collector.
    client.make(&video_flow(2, 7)).await;
    client.register(2, "other", "[0:0_1:0)").await;
    client.delete(&segments(2)).await.expect(204);
    until(async || client.get("/flows").await.status == 200 && stored(&app) == 3).await;
    register(client, 1, "waits", "[1:0_2:0)").await;
    clock.advance(Duration::from_secs(1));
    client.delete(&format!("/flows/{}", id(2))).await.expect(204);
    until(async || stored(&app) == 2).await;
    assert_eq!(get(client, &get_url(client, "kept").await).await.body, "bytes");
    assert_eq!(get(client, &get_url(client, "waits").await).await.body, "bytes");
}

#[tokio::test]
async fn a_reader_gets_all_bytes_of_an_object_that_is_deleted_meanwhile() {
    let app = with_flow().await;
    let client = &app.client;
    let bytes = noise(8 * 1024 * 1024);
    let url = client.allocate(1, &["o1"]).await;
    put(client, &url[0], bytes.clone()).await;
    register(client, 1, "o1", "[0:0_1:0)").await;
    let mut response = client.http.get(get_url(client, "o1").await).send().await.unwrap();
    let mut read = response.chunk().await.unwrap().unwrap().to_vec();
    client.delete(&segments(1)).await.expect(204);
    until(async || stored(&app) == 0).await;
    while let Some(chunk) = response.chunk().await.unwrap() {
        read.extend_from_slice(&chunk);
    }
    assert!(read == bytes);
}

#[tokio::test]
async fn an_object_may_be_empty_and_have_any_name() {
    let app = with_flow().await;
    let client = &app.client;
    let names = ["", "a/b", "../../../../etc/passwd", "a b", "日本\u{1F3AC}", "%2F", "a?b#c&d=e", "...", "a//b"];
    let names: Vec<String> = names.iter().map(|name| format!("{name}.")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).filter(|name| *name != ".").collect();
    for (number, (name, url)) in names.iter().zip(client.allocate(1, &names).await).enumerate() {
        let bytes = if number == 0 { Vec::new() } else { noise(number) };
        assert_eq!(put(client, &url, bytes.clone()).await.status, 200, "{name}");
        register(client, 1, name, &format!("[{number}:0]")).await;
        let url = get_url(client, name).await;
        let got = get(client, &url).await;
        assert_eq!((got.status, got.body.to_vec()), (200, bytes.clone()), "{name}");
        assert_eq!(got.header("content-length"), bytes.len().to_string());
        if bytes.is_empty() {
            for range in ["bytes=0-", "bytes=-1", "bytes=5-"] {
                let got = send(client.http.get(&url).header("range", range)).await;
                assert_eq!((got.status, got.body.len()), (200, 0), "{range}");
            }
        }
    }
    // On disk no name is a client's.
    let names: BTreeSet<String> = files(&app.folder.path().join("data/media"))
        .iter()
        .map(|file| file.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert!(
        names.iter().all(|name| name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit())),
        "{names:?}"
    );
}

#[tokio::test]
async fn media_survives_a_restart_with_its_urls() {
    let app = with_flow().await;
    let url = app.client.allocate(1, &["o1", "o2"]).await;
    put(&app.client, &url[0], "bytes").await;
    register(&app.client, 1, "o1", "[0:0_1:0)").await;
    let path = |url: &str, base: &str| url.strip_prefix(base).unwrap().to_owned();
    let (read, write) = (path(&get_url(&app.client, "o1").await, &app.client.base), path(&url[1], &app.client.base));
    let folder = app.stop().await;
    let app = TestApp::with(|config| config.data.dir = folder.path().join("data"), Clock::system()).await;
    let client = &app.client;
    assert_eq!(get(client, &client.url(&read)).await.body, "bytes");
    assert_eq!(put(client, &client.url(&write), "second").await.status, 200);
    register(client, 1, "o2", "[1:0_2:0)").await;
    assert_eq!(get(client, &get_url(client, "o2").await).await.body, "second");
}

#[tokio::test]
async fn a_part_of_an_object_is_no_upload() {
    let app = with_flow().await;
    let storage =
        app.client.post(&format!("/flows/{}/storage", id(1)), &json!({"object_ids": ["o"]})).await.expect(201);
    let url = storage.json["media_objects"][0]["put_url"]["url"].as_str().unwrap();
    let part = app.client.http.put(url).header("content-range", "bytes 10-12/100").body("abc");
    assert_eq!(send(part).await.status, 400);
    assert_eq!(put(&app.client, url, "whole").await.status, 200);
}

#[tokio::test]
async fn uploads_leave_space_for_the_catalogue() {
    let full = |config: &mut tamslake::config::Config| config.media.min_free = tamslake::config::Size(1 << 60);
    let app = TestApp::with(full, Clock::system()).await;
    app.client.make(&video_flow(1, 7)).await;
    let storage =
        app.client.post(&format!("/flows/{}/storage", id(1)), &json!({"object_ids": ["o"]})).await.expect(201);
    let url = storage.json["media_objects"][0]["put_url"]["url"].as_str().unwrap();
    let refused = put(&app.client, url, "bytes").await;
    assert_eq!((refused.status, refused.error_type().as_str()), (507, "storage_full"));
    app.client.delete(&format!("/flows/{}", id(1))).await.expect(204);
}

#[tokio::test]
async fn bytes_that_are_not_there_are_said_not_to_be_there() {
    let app = with_flow().await;
    app.client.post(&format!("/flows/{}/storage", id(1)), &json!({"object_ids": ["o"]})).await.expect(201);
    register(&app.client, 1, "o", "[0:0_1:0)").await;
    let missing = get(&app.client, &get_url(&app.client, "o").await).await;
    assert_eq!(missing.status, 404);
    assert!(String::from_utf8(missing.body.to_vec()).unwrap().contains("not uploaded yet"));
}
