//! What is malformed is answered with a 4xx in the one error body, and leaves nothing behind.
//! Spec: PUT_flows-flowId, POST_flows-flowId-segments and all others that take a path, a query or a body

use std::io::Write as _;
use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::helpers::{Client, TestApp, Wire, id, segment, video_flow, with};

/// A catalogue with something of everything.
async fn furnished() -> TestApp {
    let app = TestApp::start().await;
    let client = &app.client;
    client.make(&with(video_flow(1, 7), json!({"label": "x", "tags": {"a": "b"}}))).await;
    client.make(&video_flow(2, 7)).await;
    client.register(1, "o1", "[0:0_10:0)").await;
    client.register(1, "o2", "[10:0_20:0)").await;
    client.allocate(1, &["waiting"]).await;
    app
}

/// How often something was written to the catalogue: refusals write nothing.
fn log_entries(app: &TestApp) -> usize {
    std::fs::read_dir(app.folder.path().join("data/catalog/log")).unwrap().count()
}

/// Runs the requests and makes sure that they leave no trace and a server that answers.
async fn leaves_nothing(app: &TestApp, requests: impl AsyncFnOnce(&Client)) {
    let (before, entries) = (app.client.everything().await, log_entries(app));
    requests(&app.client).await;
    assert_eq!(app.client.everything().await, before);
    assert_eq!(log_entries(app), entries, "a refusal was written to the log");
    assert_eq!(files(&app.folder.path().join("data/media")), 0);
}

/// Number of files below a folder.
fn files(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
}

fn json_writes() -> Vec<(Method, String)> {
    let flow = format!("/flows/{}", id(1));
    let mut writes = vec![
        (Method::POST, "/service".to_owned()),
        (Method::PUT, flow.clone()),
        (Method::POST, format!("{flow}/segments")),
        (Method::POST, format!("{flow}/storage")),
    ];
    for property in ["tags/a", "label", "description", "read_only", "flow_collection", "max_bit_rate", "avg_bit_rate"] {
        writes.push((Method::PUT, format!("{flow}/{property}")));
    }
    for property in ["tags/a", "label", "description"] {
        writes.push((Method::PUT, format!("/sources/{}/{property}", id(7))));
    }
    writes
}

#[tokio::test]
async fn malformed_json_is_refused_everywhere() {
    let app = furnished().await;
    let bodies: Vec<Vec<u8>> = [
        &b"{"[..],
        b"}",
        b"[",
        b"{\"id\":",
        b"{'id': 1}",
        b"{\"id\": 1,}",
        b"[1,]",
        b"\"",
        b"\"a\" \"b\"",
        b"{}{}",
        b"nul",
        b"NaN",
        b"-",
        b"01",
        b"1e",
        b"\xff\xfe",
        b"\"\xc3\"",
        b"\"\xed\xa0\x80\"",
        b"\"\\ud800\"",
        b"\"\\x\"",
        b"\"a\nb\"",
        b"\0",
        b"\xef\xbb\xbf{}",
        b"// comment\n{}",
        b"<xml/>",
        b"label=x",
        b" ",
        b"\n",
    ]
    .map(<[u8]>::to_vec)
    .to_vec();
    leaves_nothing(&app, async |client| {
        for (method, path) in json_writes() {
            for body in &bodies {
                let answer = client.raw(method.clone(), &path, Some("application/json"), body.clone()).await;
                let text = String::from_utf8_lossy(body);
                assert_eq!(answer.status.as_u16(), 400, "{method} {path} {text} {answer:?}");
                assert_eq!(answer.error_type(), "validation_error", "{method} {path} {text}");
                assert_eq!(answer.json["message"][0]["loc"][0], "body", "{method} {path} {text}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn an_empty_body_is_refused_where_one_is_needed() {
    let app = furnished().await;
    leaves_nothing(&app, async |client| {
        for (method, path) in json_writes().into_iter().filter(|(_, path)| !path.ends_with("/storage")) {
            for content_type in [None, Some("application/json")] {
                let answer = client.raw(method.clone(), &path, content_type, "").await.expect(400);
                assert_eq!(answer.json["message"][0]["type"], "missing", "{method} {path}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn another_content_type_is_refused_before_the_body_is_looked_at() {
    let app = furnished().await;
    leaves_nothing(&app, async |client| {
        for (method, path) in json_writes() {
            for content_type in [
                "text/plain",
                "application/xml",
                "application/x-www-form-urlencoded",
                "multipart/form-data; boundary=x",
                "json",
                "",
                "*/*",
                "application/jsonp",
                "application/json5",
            ] {
                let answer = client.raw(method.clone(), &path, Some(content_type), "{").await.expect(415);
                assert_eq!(answer.error_type(), "unsupported", "{method} {path} {content_type}");
            }
            let packed = client.http.request(method.clone(), client.url(&path)).header("content-encoding", "gzip");
            client.send(packed.header("content-type", "application/json").body("{}")).await.expect(415);
        }
    })
    .await;
    // Spellings of the right one, and none at all, are taken.
    let label = format!("/flows/{}/label", id(1));
    for content_type in
        [None, Some("application/json; charset=utf-8"), Some("Application/JSON"), Some("application/json;x")]
    {
        app.client.raw(Method::PUT, &label, content_type, "\"y\"").await.expect(204);
    }
    let get = app.client.http.get(app.client.url(&label)).header("content-type", "application/json");
    assert_eq!(app.client.send(get).await.expect(200).json, json!("y"));
}

#[tokio::test]
async fn a_body_longer_than_allowed_is_refused_with_or_without_a_length() {
    let app = furnished().await;
    let long = json!("x".repeat(10 << 20));
    leaves_nothing(&app, async |client| {
        for path in [
            format!("/flows/{}/label", id(1)),
            format!("/flows/{}/tags/a", id(1)),
            format!("/sources/{}/description", id(7)),
        ] {
            let answer = client.put(&path, &long).await.expect(413);
            assert_eq!(answer.error_type(), "too_large");
            let text = serde_json::to_vec(&long).unwrap();
            let chunks: Vec<Result<Vec<u8>, std::io::Error>> =
                text.chunks(65_536).map(|chunk| Ok(chunk.to_vec())).collect();
            let body = reqwest::Body::wrap_stream(futures::stream::iter(chunks));
            client.raw(Method::PUT, &path, Some("application/json"), body).await.expect(413);
        }
        client.put(&format!("/flows/{}", id(1)), &with(video_flow(1, 7), json!({"label": long}))).await.expect(413);
        let many: Vec<Value> = (0..100_000).map(|n| segment(&format!("many-{n}"), &format!("[{n}:0]"))).collect();
        client.post(&format!("/flows/{}/segments", id(2)), &json!(many)).await.expect(413);
    })
    .await;
}

#[tokio::test]
async fn a_body_that_ends_early_is_no_body() {
    let app = furnished().await;
    leaves_nothing(&app, async |client| {
        let path = format!("/flows/{}/label", id(1));
        for framing in [
            "Content-Length: 10\r\n\r\n\"y\"",
            "Transfer-Encoding: chunked\r\n\r\n3\r\n\"y\"\r\n",
            "Transfer-Encoding: chunked\r\n\r\nx\r\n",
        ] {
            let mut stream = TcpStream::connect(client.authority()).await.unwrap();
            let request = format!("PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{framing}");
            stream.write_all(request.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            if !answer.is_empty() {
                assert_eq!(Wire::parse(&answer).status, 400, "{framing}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn deep_nesting_is_refused_wherever_it_stands() {
    let app = furnished().await;
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(10_000), close.repeat(10_000));
    let flow = video_flow(1, 7).to_string();
    let inside = |key: &str, value: &str| format!("{},\"{key}\":{value}}}", &flow[..flow.len() - 1]);
    leaves_nothing(&app, async |client| {
        for (method, path) in json_writes() {
            for body in [
                deep("[", "]"),
                deep("{\"a\":", "}"),
                deep("[{\"a\":", "}]"),
                "[".repeat(10_000),
                "{\"a\":".repeat(10_000),
                inside("unheard", &deep("[", "]")),
                inside("tags", &deep("{\"a\":", "}")),
                inside("essence_parameters", &deep("[", "]")),
                inside("created", &deep("[", "]")),
            ] {
                let answer = client.raw(method.clone(), &path, Some("application/json"), body).await;
                assert_eq!(answer.status.as_u16(), 400, "{method} {path}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn values_of_the_wrong_type_are_refused_everywhere() {
    let app = furnished().await;
    let anything = [
        json!(null),
        json!(true),
        json!(-1),
        json!(1.5),
        json!(1e300),
        json!("x"),
        json!([]),
        json!([null]),
        json!(["x"]),
        json!({}),
        json!({"x": null}),
        json!([[]]),
        json!([{}]),
    ];
    leaves_nothing(&app, async |client| {
        for (method, path) in json_writes() {
            let fits = |value: &Value| match path.rsplit('/').next().unwrap() {
                "label" | "description" => value.is_string(),
                "a" => value.is_string() || value.as_array().is_some_and(|items| items.iter().all(Value::is_string)),
                "read_only" => value.is_boolean(),
                "flow_collection" => *value == json!([]),
                // Nothing is required there; an empty list registers nothing.
                "service" | "storage" => value.is_object(),
                "segments" => *value == json!([]),
                _ => false,
            };
            for value in anything.iter().filter(|value| !fits(value)) {
                let answer = client.raw(method.clone(), &path, None, value.to_string()).await;
                assert_eq!(answer.status.as_u16(), 400, "{method} {path} {value} {answer:?}");
            }
        }
    })
    .await;
}

/// Every place in a JSON value that holds something, set to null one at a time.
fn with_a_null(value: &Value) -> Vec<(String, Value)> {
    fn places(value: &Value, at: &str, found: &mut Vec<String>) {
        let inside: Vec<(String, &Value)> = match value {
            Value::Object(keys) => keys.iter().map(|(key, value)| (format!("{at}/{key}"), value)).collect(),
            Value::Array(items) => items.iter().enumerate().map(|(n, value)| (format!("{at}/{n}"), value)).collect(),
            _ => Vec::new(),
        };
        for (at, value) in inside {
            places(value, &at, found);
            found.push(at);
        }
    }
    let mut found = Vec::new();
    places(value, "", &mut found);
    let nulled = |place: String| {
        let mut value = value.clone();
        *value.pointer_mut(&place).unwrap() = json!(null);
        (place, value)
    };
    found.into_iter().map(nulled).collect()
}

#[tokio::test]
async fn null_is_no_value_of_any_key() {
    let app = furnished().await;
    let ratio = json!({"numerator": 16, "denominator": 9});
    let mapping = json!({
        "track_index": 0, "format_track_index": 0, "audio_track": {"channel_numbers": [0], "channel_range": "0_1"},
        "mp2ts_container": {"pid": 1}, "mxf_container": {"track_id": 1}, "isobmff_container": {"track_id": 1},
    });
    let full = with(
        video_flow(9, 7),
        json!({
            "label": "x", "description": "x", "tags": {"a": "b", "c": ["d"]}, "generation": 0, "status": "ingesting",
            "read_only": false, "avg_bit_rate": 1, "max_bit_rate": 1, "segment_duration": {"numerator": 6, "denominator": 1},
            "container_mapping": mapping, "metadata_version": "x", "created_by": "x", "updated_by": "x", "profile_id": "",
            "flow_collection": [{"id": id(2), "role": "x", "container_mapping": mapping}],
            "essence_parameters": {
                "frame_width": 1920, "frame_height": 1080, "frame_rate": {"numerator": 25, "denominator": 1}, "vfr": false,
                "bit_depth": 8, "interlace_mode": "progressive", "colorspace": "BT709", "transfer_characteristic": "SDR",
                "aspect_ratio": ratio, "pixel_aspect_ratio": ratio, "component_type": "YCbCr", "horiz_chroma_subs": 2,
                "vert_chroma_subs": 1, "unc_parameters": {"unc_type": "v210"},
                "avc_parameters": {"profile": 122, "level": 42, "flags": 0}, "init_segments": true,
            },
        }),
    );
    let audio = json!({
        "sample_rate": 48000, "channels": 2, "bit_depth": 24, "unc_parameters": {"unc_type": "interleaved"},
        "codec_parameters": {"coded_frame_size": 1024, "mp4_oti": 2}, "init_segments": false,
    });
    let full_segment = with(
        segment("o9", "[50:0_51:0)"),
        json!({"ts_offset": "0:0", "object_timerange": "[50:0_51:0)", "last_duration": "0:1", "sample_offset": 0,
               "sample_count": 1, "key_frame_count": 1}),
    );
    let storage = json!({"object_ids": ["o9"], "content_type": "video/mp2t", "presigned": true});
    let bodies = [
        (Method::PUT, format!("/flows/{}", id(9)), full),
        (
            Method::PUT,
            format!("/flows/{}", id(9)),
            json!({"id": id(9), "source_id": id(8), "format": "urn:x-nmos:format:audio", "codec": "audio/aac", "essence_parameters": audio}),
        ),
        (
            Method::PUT,
            format!("/flows/{}", id(9)),
            json!({"id": id(9), "source_id": id(8), "format": "urn:x-nmos:format:data", "codec": "a/b",
                   "essence_parameters": {"data_type": "urn:x", "init_segments": true}}),
        ),
        (
            Method::PUT,
            format!("/flows/{}", id(9)),
            json!({"id": id(9), "source_id": id(8), "format": "urn:x-nmos:format:multi", "essence_parameters": {"init_segments": true}}),
        ),
        (Method::POST, format!("/flows/{}/segments", id(1)), full_segment.clone()),
        (Method::POST, format!("/flows/{}/segments", id(1)), json!([full_segment])),
        (Method::POST, format!("/flows/{}/storage", id(1)), storage),
        (Method::POST, "/service".into(), json!({"name": "x", "description": "x"})),
        (
            Method::PUT,
            format!("/flows/{}/flow_collection", id(1)),
            json!([{"id": id(2), "role": "x", "container_mapping": mapping}]),
        ),
        (Method::PUT, format!("/flows/{}/tags/a", id(1)), json!(["x"])),
    ];
    let mut taken = Vec::new();
    leaves_nothing(&app, async |client| {
        for (method, path, body) in bodies {
            for (place, body) in with_a_null(&body) {
                let answer = client.raw(method.clone(), &path, None, body.to_string()).await;
                if answer.status != 400 {
                    taken.push(format!("{method} {path} {place}: {}", answer.status));
                }
            }
        }
        assert!(taken.is_empty(), "null was taken: {taken:#?}");
    })
    .await;
}

#[tokio::test]
async fn keys_given_twice_or_hidden_in_lists_are_not_taken() {
    let app = furnished().await;
    let (one, segments) = (format!("/flows/{}", id(1)), format!("/flows/{}/segments", id(1)));
    let flow = video_flow(1, 7).to_string();
    leaves_nothing(&app, async |client| {
        for (method, path, body) in [
            (Method::PUT, &one, format!("{},\"label\":\"a\",\"label\":\"b\"}}", &flow[..flow.len() - 1])),
            (Method::PUT, &one, format!("{},\"id\":\"{}\"}}", &flow[..flow.len() - 1], id(2))),
            (Method::PUT, &one, format!("[{flow}]")),
            (Method::PUT, &one, format!("[\"{}\",\"{}\"]", id(1), id(7))),
            (Method::POST, &segments, "[[\"o9\",\"[50:0_51:0)\"]]".into()),
            (
                Method::POST,
                &segments,
                "{\"object_id\":\"o9\",\"timerange\":\"[50:0]\",\"timerange\":\"[51:0]\"}".into(),
            ),
            (
                Method::POST,
                &segments,
                "{\"object_id\":\"o9\",\"timerange\":\"[50:0]\",\"get_urls\":[[\"https://x\",\"x\"]]}".into(),
            ),
        ] {
            let answer = client.raw(method, path, None, body.clone()).await;
            assert_eq!(answer.status.as_u16(), 400, "{body}");
        }
    })
    .await;
}

/// A GET over the wire, where no client cleans up the target.
fn get(method: &str, target: &[u8]) -> Vec<u8> {
    let mut request = Vec::new();
    write!(request, "{method} ").unwrap();
    request.extend_from_slice(target);
    request.extend_from_slice(b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    request
}

#[tokio::test]
async fn tricks_in_paths_lead_nowhere() {
    let app = furnished().await;
    let ids: Vec<Vec<u8>> = [
        "..",
        "../..",
        "..%2F..",
        "%2e%2e",
        "%2E%2E%2F",
        "%2F",
        "%2Fetc%2Fpasswd",
        "%00",
        "x%00",
        "%",
        "%2",
        "%zz",
        "%ff",
        "%c3%28",
        "%ED%A0%80",
        "%F0%9F%8E%AC",
        "%0d%0aX:%20y",
        "'%20OR%201=1",
        "*",
        ";x",
        "x?",
        "x%3F",
        "a:b",
        "~",
        "{id}",
        "$%7Bx%7D",
        "null",
        "undefined",
        "0",
        "-1",
        "ABCDEF00-0000-4000-8000-000000000001",
        "00000000-0000-0000-0000-000000000000",
        "00000000-0000-6000-8000-000000000001",
        "00000000-0000-4000-c000-000000000001",
        "00000000-0000-4000-8000-00000000000g",
        "00000000000040008000000000000001",
        "%7B00000000-0000-4000-8000-000000000001%7D",
        "urn:uuid:00000000-0000-4000-8000-000000000001",
        "00000000-0000-4000-8000-000000000001%00",
        "00000000-0000-4000-8000-000000000001%20",
        "00000000-0000-4000-8000-000000000001%0A",
        "00000000-0000-4000-8000-000000000001.",
        "%2000000000-0000-4000-8000-000000000001",
    ]
    .iter()
    .map(|id| id.as_bytes().to_vec())
    .chain(["x".repeat(10_000).into_bytes(), "%41".repeat(5_000).into_bytes()])
    .collect();
    leaves_nothing(&app, async |client| {
        for bad in &ids {
            for (method, before, after) in [
                ("GET", "/flows/", ""),
                ("GET", "/flows/", "/segments"),
                ("GET", "/flows/", "/label"),
                ("GET", "/sources/", ""),
                ("GET", "/sources/", "/tags"),
                ("DELETE", "/flows/", ""),
                ("DELETE", "/flows/", "/segments"),
                ("DELETE", "/sources/", "/label"),
                ("PUT", "/flows/", "/read_only"),
                ("POST", "/flows/", "/storage"),
            ] {
                let target = [before.as_bytes(), bad, after.as_bytes()].concat();
                let shown = String::from_utf8_lossy(&target).into_owned();
                let answer = client.wire(get(method, &target)).await;
                assert!(answer.status == 404 || answer.status == 405, "{method} {shown}: {}", answer.status);
                assert!(answer.error().is_some(), "{method} {shown}: {:?}", String::from_utf8_lossy(&answer.body));
            }
        }
    })
    .await;
}

#[tokio::test]
async fn odd_object_ids_and_tag_names_in_paths_are_not_found() {
    let app = furnished().await;
    leaves_nothing(&app, async |client| {
        let flow = format!("/flows/{}", id(1));
        let long = "x".repeat(1_025);
        for bad in [
            "%00",
            "a%0Ab",
            "%7F",
            "%C2%80",
            "%ff",
            "%c3%28",
            "%ED%A0%80",
            "%2E%2E",
            "%2E",
            ".",
            "..",
            "%E0%80%AF",
            &long,
            &"%41".repeat(1_025),
        ] {
            let object = client.wire(get("GET", format!("/objects/{bad}").as_bytes())).await;
            assert_eq!((object.status, object.error().is_some()), (404, true), "{bad}");
            if bad.contains('.') || bad.contains("2E") {
                continue;
            }
            for method in ["GET", "DELETE"] {
                let tag = client.wire(get(method, format!("{flow}/tags/{bad}").as_bytes())).await;
                assert_eq!((tag.status, tag.error().is_some()), (404, true), "{method} {bad}");
            }
            let body = format!(
                "PUT {flow}/tags/{bad} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 3\r\n\r\n\"x\""
            );
            let tag = client.wire(body).await;
            assert_eq!((tag.status, tag.error().is_some()), (404, true), "PUT {bad}");
        }
        client.get("/objects/").await.expect(404);
        client.put(&format!("{flow}/tags/"), &json!("x")).await.expect(404);
    })
    .await;
}

#[tokio::test]
async fn unknown_paths_and_methods_have_the_error_body_too() {
    let app = furnished().await;
    leaves_nothing(&app, async |client| {
        for path in [
            "/x",
            "/flows/",
            "//flows",
            "/flows//",
            "/Flows",
            "/flows/x/y/z",
            "/service/",
            "/service/webhooks/",
            "/v8.2/flows/",
            "/v8.2/v8.2/flows",
            "/.",
            "/%2e",
            "/..",
            "/../flows",
            "/flows/../service",
            "/%66lows",
            "/openapi.json/",
            "/media/",
            "/media",
            "/media/x/y",
            "/docs/x",
            "/.git/config",
            "/*",
            "/:flowId",
            "/flows/:flowId",
        ] {
            let answer = client.wire(get("GET", path.as_bytes())).await;
            assert_eq!((answer.status, answer.error().is_some()), (404, true), "{path}");
        }
        for (method, path, allow) in [
            ("DELETE", "/flows", "GET, HEAD, OPTIONS"),
            ("GET", "/objects/o1/instances", "DELETE, POST, OPTIONS"),
            ("PUT", "/service/profiles/2f8c1c1e-7d6b-4a39-9d0e-0d5a3f0f6b11", "GET, POST, HEAD, OPTIONS"),
            ("DELETE", "/flow-delete-requests", "GET, HEAD, OPTIONS"),
            ("POST", "/flows", "GET, HEAD, OPTIONS"),
            ("PATCH", "/service", "GET, POST, HEAD, OPTIONS"),
            ("BREW", "/", "GET, HEAD, OPTIONS"),
            ("get", "/", "GET, HEAD, OPTIONS"),
            ("TRACE", "/service", "GET, POST, HEAD, OPTIONS"),
            ("POST", "/docs", "GET, HEAD, OPTIONS"),
            ("PUT", "/openapi.json", "GET, HEAD, OPTIONS"),
        ] {
            let answer = client.wire(get(method, path.as_bytes())).await;
            assert_eq!((answer.status, answer.error().is_some()), (405, true), "{method} {path}");
            assert_eq!(answer.header("allow"), Some(allow), "{method} {path}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_not_http_is_refused_and_hurts_nobody() {
    let app = furnished().await;
    leaves_nothing(&app, async |client| {
        for request in [
            &b"GET / HTTP/1.1\r\nHost: x\r\nBad Header: y\r\n\r\n"[..],
            b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET /flows/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
            b"PUT /service HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
            b"PUT /service HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
            b"PUT /service HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        ] {
            let answer = client.wire(request).await;
            assert!((400..500).contains(&answer.status), "{:?}: {}", String::from_utf8_lossy(request), answer.status);
        }
        let long = format!("GET /flows?label={} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "x".repeat(1 << 20));
        let answer = client.wire(long).await;
        assert!((400..500).contains(&answer.status), "{}", answer.status);
    })
    .await;
}

#[tokio::test]
async fn queries_that_are_not_utf8_or_not_escaped_fail_nothing() {
    let app = furnished().await;
    leaves_nothing(&app, async |client| {
        for (query, status) in [
            ("label=%ff", 200),
            ("label=%", 200),
            ("label=%zz", 200),
            ("label=%00", 200),
            ("label=%C3%28", 200),
            ("tag.%ff=%fe", 200),
            ("tag.=x", 200),
            ("tag_exists.=true", 200),
            ("tag.a%00b=x", 200),
            ("tag=x", 200),
            ("=", 200),
            ("&&&", 200),
            ("=x&=y", 200),
            ("label=x&label=y", 200),
            ("limit=1&limit=2", 200),
            ("limit=x&limit=2", 200),
            ("limit=2&limit=x", 400),
            ("limit=1;limit=2", 400),
            ("limit[]=1", 200),
            ("Limit=x", 200),
            ("limit=%31", 200),
            ("sort_by=label%00", 400),
            ("format=urn:x-nmos:format:video%20", 400),
            ("page=%F0%9F%8E%AC", 400),
            ("source_id=00000000-0000-4000-8000-00000000000A", 400),
            ("timerange=[0:0_1:0)&timerange=x", 400),
            ("frame_width=18446744073709551616", 400),
        ] {
            let answer = client.wire(get("GET", format!("/flows?{query}").as_bytes())).await;
            assert_eq!(answer.status, status, "{query}");
            let head = client.wire(get("HEAD", format!("/flows?{query}").as_bytes())).await;
            assert_eq!((head.status, head.body.len()), (status, 0), "{query}");
        }
        let many: String = (0..5_000).map(|number| format!("tag.t{number}=x&")).collect();
        assert_eq!(client.wire(get("GET", format!("/flows?{many}").as_bytes())).await.status, 200);
    })
    .await;
}

#[tokio::test]
async fn strange_texts_are_kept_as_they_are() {
    let app = furnished().await;
    let client = &app.client;
    let texts = [
        "\u{0}",
        "\u{7F}",
        "\r\n",
        "\u{2028}",
        "\u{FEFF}",
        "\u{202E}",
        "\u{10FFFF}",
        "\u{FFFD}",
        "'; DROP TABLE flows; --",
        "<script>",
        "{{7*7}}",
        "%s%n",
        "${jndi:ldap://x}",
        "../../x",
        "e\u{301}",
        "é",
        " ",
        "\u{1F468}\u{200D}\u{1F469}",
    ];
    for text in texts {
        client.put(&format!("/flows/{}/label", id(1)), &json!(text)).await.expect(204);
        assert_eq!(client.get(&format!("/flows/{}/label", id(1))).await.json, json!(text), "{text:?}");
        // A name has to fit into a path.
        let name = if text.chars().any(char::is_control) { "tag" } else { text };
        let flow = with(
            video_flow(1, 7),
            json!({"label": text, "description": text, "tags": {name: [text, text]}, "created_by": text}),
        );
        client.put(&format!("/flows/{}", id(1)), &flow).await.expect(204);
        let stored = client.get(&format!("/flows/{}", id(1))).await.json;
        assert_eq!((&stored["label"], &stored["description"]), (&json!(text), &json!(text)));
        assert_eq!(stored["tags"], json!({name: [text, text]}), "{text:?}");
    }
}
