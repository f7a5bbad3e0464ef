//! What all answers have in common: HEAD, CORS, compression, HTTP/2, links, request ids, documents, and the end.
//! Spec: HEAD_root, HEAD_service and the other HEAD operations

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use bytes::Bytes;
use futures::stream;
use reqwest::{Method, Version};
use serde_json::{Value, json};
use tamslake::clock::Clock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::helpers::{Client, TestApp, Wire, id, segment, specification, video_flow, with};

/// Flows 1 to 30 of one Source; Flow 1 has two segments with media `o1` and `o2`.
async fn furnished(app: &TestApp) {
    let client = &app.client;
    for number in 1..=30 {
        let described = json!({"label": format!("Flow {number}"), "description": "d", "tags": {"a": "b"}});
        client.make(&with(video_flow(number, 7), described)).await;
    }
    for (second, url) in client.allocate(1, &["o1", "o2"]).await.iter().enumerate() {
        client.http.put(url).body("some media bytes".repeat(200)).send().await.unwrap().error_for_status().unwrap();
        let segment = json!({"object_id": format!("o{}", second + 1), "timerange": format!("[{second}:0]")});
        client.post(&format!("/flows/{}/segments", id(1)), &segment).await.expect(201);
    }
}

fn request(method: &str, target: &str, headers: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: tams.example\r\nConnection: close\r\n{headers}\r\n")
}

/// One answer from a connection that stays open.
async fn read_answer(stream: &mut TcpStream) -> Wire {
    let mut bytes = Vec::new();
    loop {
        let mut block = [0; 4096];
        let read = stream.read(&mut block).await.unwrap();
        assert!(read > 0, "the server closed the connection: {:?}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&block[..read]);
        if bytes.windows(4).any(|four| four == b"\r\n\r\n") {
            let answer = Wire::parse(&bytes);
            let length = answer.header("content-length").map_or(0, |length| length.parse::<usize>().unwrap());
            if answer.body.len() >= length {
                assert_eq!(answer.body.len(), length);
                return answer;
            }
        }
    }
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    // Time stands still: error bodies hold it, and its digits count for their length.
    let app = TestApp::with(|_| {}, Clock::manual("2026-08-14T09:00:00Z".parse().unwrap(), 1)).await;
    furnished(&app).await;
    let client = &app.client;
    let flow = format!("/flows/{}", id(1));
    let source = format!("/sources/{}", id(7));
    let media = client.get("/objects/o1").await.json["get_urls"][0]["url"].as_str().unwrap().to_owned();
    let media = media.strip_prefix(&client.base).unwrap().to_owned();
    let mut paths = vec![
        "/".to_owned(),
        "/service".into(),
        "/service/storage-backends".into(),
        "/service/storage-backends?limit=0".into(),
        "/service/storage-backends?tag_exists.x=maybe".into(),
        "/sources".into(),
        "/sources?limit=1".into(),
        "/sources?sort_by=x".into(),
        "/flows".into(),
        "/flows?limit=1".into(),
        "/flows?limit=7&reverse_order=true&tag.a=b".into(),
        "/flows?limit=x".into(),
        "/flows?timerange=x".into(),
        "/flows?page=x".into(),
        flow.clone(),
        format!("{flow}?include_timerange=true"),
        format!("{flow}?include_timerange=x"),
        format!("{flow}/segments"),
        format!("{flow}/segments?limit=1"),
        format!("{flow}/segments?limit=1&reverse_order=true"),
        format!("{flow}/segments?timerange=()"),
        format!("{flow}/segments?timerange=x"),
        format!("/flows/{}/segments", id(99)),
        "/flows/x/segments".into(),
        "/objects/o1".into(),
        "/objects/o1?limit=1".into(),
        "/objects/o1?limit=x".into(),
        "/objects/none".into(),
        format!("/flows/{}", id(99)),
        "/flows/x".into(),
        format!("/sources/{}", id(99)),
        source.clone(),
        "/nothing".into(),
        "/openapi.json".into(),
        "/docs".into(),
        media.clone(),
        media.replace("/o1", "/o2"),
        format!("{flow}/tags/none"),
        format!("{source}/tags/none"),
    ];
    for property in
        ["tags", "tags/a", "label", "description", "read_only", "flow_collection", "max_bit_rate", "avg_bit_rate"]
    {
        paths.push(format!("{flow}/{property}"));
        paths.push(format!("/flows/{}/{property}", id(99)));
    }
    for property in ["tags", "tags/a", "label", "description"] {
        paths.push(format!("{source}/{property}"));
        paths.push(format!("/sources/{}/{property}", id(99)));
    }
    for path in paths {
        for headers in ["", "Origin: https://ui.example\r\n", "Accept-Encoding: gzip\r\n"] {
            let get = client.wire(request("GET", &path, headers)).await;
            let head = client.wire(request("HEAD", &path, headers)).await;
            assert_eq!((head.status, head.body.len()), (get.status, 0), "{path}");
            // A packed body has no length beforehand; its HEAD may say that of the plain one.
            let packed = get.header("content-encoding").is_some();
            let mut apart = vec!["date", "x-request-id"];
            if packed {
                apart.extend(["content-length", "content-encoding", "transfer-encoding"]);
            }
            let comparable = |answer: &Wire| {
                let mut headers = answer.headers.clone();
                headers.retain(|(name, _)| !apart.contains(&name.as_str()));
                headers.sort();
                headers
            };
            assert_eq!(comparable(&head), comparable(&get), "{path} {headers}");
        }
    }
    // On one connection, nothing follows the headers but the next answer.
    let mut stream = TcpStream::connect(client.authority()).await.unwrap();
    for target in ["/flows", "/flows?limit=x", "/nothing", &media] {
        stream.write_all(format!("HEAD {target} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut block = [0; 8192];
        let read = stream.read(&mut block).await.unwrap();
        assert!(block[..read].ends_with(b"\r\n\r\n"), "{target}: {}", String::from_utf8_lossy(&block[..read]));
    }
    stream.write_all(b"GET /service HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert_eq!(read_answer(&mut stream).await.status, 200);
}

#[tokio::test]
async fn a_page_of_head_has_the_paging_headers() {
    let app = TestApp::start().await;
    furnished(&app).await;
    let head = app.client.head("/flows?limit=1").await.expect(200);
    assert_eq!((head.header("x-paging-limit"), head.header("x-paging-count")), (Some("1"), Some("1")));
    assert_eq!(head.header("x-paging-reverse-order"), Some("false"));
    let link = head.next_link().unwrap();
    assert!(link.contains(head.header("x-paging-nextkey").unwrap()), "{link}");
}

const ORIGIN: &str = "https://ui.example";

/// Answers of every kind.
async fn cors_targets(client: &Client) -> Vec<(&'static str, Method, String, u16)> {
    let media = client.get("/objects/o1").await.json["get_urls"][0]["url"].as_str().unwrap().to_owned();
    let media = media.strip_prefix(&client.base).unwrap().to_owned();
    vec![
        ("", Method::GET, "/flows".into(), 200),
        ("", Method::HEAD, "/flows".into(), 200),
        ("\"x\"", Method::PUT, format!("/flows/{}/label", id(1)), 204),
        ("{", Method::PUT, format!("/flows/{}/label", id(1)), 400),
        ("", Method::GET, "/flows/x".into(), 404),
        ("", Method::GET, "/nothing".into(), 404),
        ("", Method::DELETE, "/flows".into(), 405),
        ("", Method::OPTIONS, "/flows".into(), 204),
        ("", Method::GET, "/media/o1".into(), 403),
        ("", Method::GET, media.clone(), 200),
        ("", Method::HEAD, media.clone(), 200),
        ("x", Method::PUT, media, 403),
        ("", Method::GET, "/openapi.json".into(), 200),
    ]
}

#[tokio::test]
async fn every_answer_may_be_read_by_browsers_of_every_origin() {
    let app = TestApp::start().await;
    furnished(&app).await;
    let client = &app.client;
    for (body, method, path, status) in cors_targets(client).await {
        let sent = client.http.request(method.clone(), client.url(&path)).header("origin", ORIGIN).body(body);
        let answer = sent.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{method} {path}");
        assert_eq!(answer.headers()["access-control-allow-origin"], "*", "{method} {path}");
        let exposed = answer.headers()["access-control-expose-headers"].to_str().unwrap().to_lowercase();
        for header in [
            "link",
            "location",
            "etag",
            "content-range",
            "x-paging-nextkey",
            "x-paging-limit",
            "x-paging-count",
            "x-paging-timerange",
            "x-paging-reverse-order",
        ] {
            assert!(exposed.split(", ").any(|name| name == header), "{header}: {exposed}");
        }
    }
    let long = client.http.put(client.url(&format!("/flows/{}/label", id(1)))).header("origin", ORIGIN);
    let answer = long.body("x".repeat(9 << 20)).send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["access-control-allow-origin"]),
        (413, &"*".parse().unwrap())
    );
}

#[tokio::test]
async fn a_preflight_is_answered_for_every_path_and_changes_nothing() {
    let app = TestApp::start().await;
    furnished(&app).await;
    let client = &app.client;
    for path in [
        "/flows".to_owned(),
        format!("/flows/{}", id(1)),
        "/media/o1".into(),
        "/objects/a%2Fb".into(),
        "/nothing".into(),
    ] {
        for method in ["GET", "PUT", "POST", "DELETE"] {
            let answer = client
                .http
                .request(Method::OPTIONS, client.url(&path))
                .header("origin", ORIGIN)
                .header("access-control-request-method", method)
                .header("access-control-request-headers", "authorization,content-type,range")
                .send()
                .await
                .unwrap();
            let headers = answer.headers();
            assert_eq!(answer.status().as_u16(), 204, "{path}");
            assert_eq!(headers["access-control-allow-origin"], "*");
            assert!(headers["access-control-allow-methods"].to_str().unwrap().contains(method), "{path}");
            let allowed = headers["access-control-allow-headers"].to_str().unwrap().to_lowercase();
            assert!(["authorization", "content-type", "range"].iter().all(|name| allowed.contains(name)), "{allowed}");
            assert!(headers["access-control-max-age"].to_str().unwrap().parse::<u64>().unwrap() > 0);
        }
    }
    assert_eq!(client.get("/flows").await.json.as_array().unwrap().len(), 30);
}

#[tokio::test]
async fn only_the_origins_of_the_configuration_may_read() {
    let app = TestApp::with(
        |config| config.cors.allow_origins = vec![ORIGIN.into(), "https://b.example".into()],
        Clock::system(),
    )
    .await;
    furnished(&app).await;
    let client = &app.client;
    for (body, method, path, status) in cors_targets(client).await {
        for (origin, allowed) in [
            (ORIGIN, Some(ORIGIN)),
            ("https://b.example", Some("https://b.example")),
            ("https://evil.example", None),
            ("https://ui.example.evil", None),
            ("http://ui.example", None),
            ("null", None),
            ("", None),
        ] {
            let mut sent = client.http.request(method.clone(), client.url(&path)).body(body);
            if !origin.is_empty() {
                sent = sent.header("origin", origin);
            }
            let answer = sent.send().await.unwrap();
            assert_eq!(answer.status().as_u16(), status, "{method} {path} {origin}");
            let given = answer.headers().get("access-control-allow-origin").map(|value| value.to_str().unwrap());
            assert_eq!(given, allowed, "{method} {path} {origin}");
            let vary: Vec<&str> =
                answer.headers().get_all("vary").iter().map(|value| value.to_str().unwrap()).collect();
            assert!(vary.iter().any(|value| value.contains("Origin")), "{method} {path} {origin}: {vary:?}");
        }
    }
}

/// What `program` makes of these bytes.
fn unpacked(program: &str, bytes: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program).arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    // Beside the reading: both pipes are smaller than what goes through them.
    let output = std::thread::scope(|scope| {
        scope.spawn(move || input.write_all(bytes).unwrap());
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success());
    output.stdout
}

#[tokio::test]
async fn long_answers_are_packed_for_those_who_ask_and_media_never_is() {
    let app = TestApp::start().await;
    furnished(&app).await;
    let client = &app.client;
    let get = async |path: &str, accept: &str| {
        let url = if path.starts_with("http") { path.to_owned() } else { client.url(path) };
        let mut sent = client.http.get(url);
        if !accept.is_empty() {
            sent = sent.header("accept-encoding", accept);
        }
        let answer = sent.send().await.unwrap().error_for_status().unwrap();
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        (
            header("content-encoding"),
            header("vary").unwrap_or_default(),
            header("content-type"),
            answer.bytes().await.unwrap(),
        )
    };
    for path in ["/flows", "/openapi.json", "/docs"] {
        let (encoding, vary, content_type, plain) = get(path, "").await;
        assert_eq!(encoding, None);
        assert!(vary.contains("Accept-Encoding"), "{path}: {vary}");
        for (accept, chosen) in [
            ("gzip", Some("gzip")),
            ("zstd", Some("zstd")),
            ("gzip, zstd", Some("zstd")),
            ("gzip;q=1, zstd;q=0.5", Some("gzip")),
            ("*", Some("zstd")),
            ("identity", None),
            ("gzip;q=0", None),
            ("br", None),
            ("x-unheard, gzip", Some("gzip")),
            (";;,=", None),
            ("GZIP", Some("gzip")),
        ] {
            let (encoding, vary, kind, packed) = get(path, accept).await;
            assert_eq!(encoding.as_deref(), chosen, "{path} {accept}");
            assert!(vary.contains("Accept-Encoding"), "{path} {accept}: {vary}");
            assert_eq!(kind, content_type);
            match chosen {
                Some("gzip") => {
                    assert!(packed.len() < plain.len());
                    assert!(unpacked("gzip", &packed) == plain, "{path}");
                }
                Some(_) => {
                    assert!(packed.starts_with(&[0x28, 0xB5, 0x2F, 0xFD]) && packed.len() < plain.len(), "{path}")
                }
                None => assert!(packed == plain, "{path} {accept}"),
            }
        }
    }
    assert_eq!(get("/service", "gzip").await.0, None, "not worth it");
    let media = client.get("/objects/o1").await.json["get_urls"][0]["url"].as_str().unwrap().to_owned();
    let (encoding, _, _, bytes) = get(&media, "gzip, zstd, *").await;
    assert_eq!((encoding, bytes), (None, Bytes::from("some media bytes".repeat(200))));

    let plain = TestApp::with(|config| config.http.compression = false, Clock::system()).await;
    furnished(&plain).await;
    let answer =
        plain.client.http.get(plain.client.url("/flows")).header("accept-encoding", "gzip").send().await.unwrap();
    assert!(answer.headers().get("content-encoding").is_none());
}

#[tokio::test]
async fn http_2_works_without_tls_and_without_an_upgrade() {
    let app = TestApp::start().await;
    let mut client = app.client.clone();
    client.http = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    client.make(&video_flow(1, 7)).await;
    let answer = client.http.get(client.url("/flows")).send().await.unwrap();
    assert_eq!((answer.version(), answer.status().as_u16()), (Version::HTTP_2, 200));
    let url = client.allocate(1, &["o1"]).await;
    assert!(url[0].starts_with(&client.base), "{}", url[0]);
    let bytes = vec![7_u8; 2_000_000];
    assert_eq!(client.http.put(&url[0]).body(bytes.clone()).send().await.unwrap().status(), 200);
    client
        .post(&format!("/flows/{}/segments", id(1)), &json!({"object_id": "o1", "timerange": "[0:0]"}))
        .await
        .expect(201);
    let url = client.get("/objects/o1").await.json["get_urls"][0]["url"].as_str().unwrap().to_owned();
    assert!(client.http.get(&url).send().await.unwrap().bytes().await.unwrap() == bytes);
    client.put(&format!("/flows/{}/label", id(1)), &json!("x".repeat(9 << 20))).await.expect(413);
    client.get("/flows?limit=x").await.expect(400);
    // Many at once on one connection.
    let requests = (0..150).map(|_| client.get("/service"));
    for answer in futures::future::join_all(requests).await {
        answer.expect(200);
    }
}

#[tokio::test]
async fn a_connection_lives_on_after_a_refusal() {
    let app = TestApp::start().await;
    furnished(&app).await;
    let mut stream = TcpStream::connect(app.client.authority()).await.unwrap();
    let label = format!("/flows/{}/label", id(1));
    let long = format!("\"{}\"", "x".repeat(9 << 20));
    for (head, body, status) in [
        ("GET /flows/x HTTP/1.1".to_owned(), "", 404),
        (format!("PUT {label} HTTP/1.1"), "{", 400),
        (format!("PUT {label} HTTP/1.1\r\nContent-Type: text/plain"), "\"text\"", 415),
        ("DELETE /flows HTTP/1.1".into(), "", 405),
        ("POST /nothing HTTP/1.1".into(), "a body that nobody reads", 404),
        ("PUT /media/o1 HTTP/1.1".into(), "bytes", 403),
        (format!("PUT {label} HTTP/1.1"), long.as_str(), 413),
        ("POST /service HTTP/1.1".into(), "{\"name\":\"x\"}", 200),
    ] {
        let request = format!("{head}\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes()).await.unwrap();
        assert_eq!(read_answer(&mut stream).await.status, status, "{head}");
    }
    // Two requests in one go are answered in order.
    stream
        .write_all(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\nGET /service HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut bytes = Vec::new();
    while !bytes.windows(10).any(|part| part == b"\"name\":\"x\"") {
        let mut block = [0; 4096];
        let read = stream.read(&mut block).await.unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&block[..read]);
    }
    assert!(bytes.starts_with(b"HTTP/1.1 404"));
}

#[tokio::test]
async fn a_client_that_waits_for_leave_to_send_gets_it() {
    let app = TestApp::start().await;
    furnished(&app).await;
    let mut stream = TcpStream::connect(app.client.authority()).await.unwrap();
    let head =
        format!("PUT /flows/{}/label HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n", id(1));
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(read_answer(&mut stream).await.status, 100);
    stream.write_all(b"\"y\"").await.unwrap();
    assert_eq!(read_answer(&mut stream).await.status, 204);
}

#[tokio::test]
async fn every_answer_carries_a_request_id_and_a_sane_one_of_the_client_is_kept() {
    let app = TestApp::start().await;
    furnished(&app).await;
    let client = &app.client;
    for (path, status) in [("/service", 200), ("/flows/x", 404), ("/nothing", 404), ("/flows?limit=x", 400)] {
        let echoed = client.http.get(client.url(path)).header("x-request-id", "01J-abc_d.e");
        let answer = client.send(echoed).await.expect(status);
        assert_eq!(answer.header("x-request-id"), Some("01J-abc_d.e"));
        let mut own = BTreeSet::new();
        for strange in ["", "a b", "<script>", "a\u{e9}", &"x".repeat(65)] {
            let mut sent = client.http.get(client.url(path));
            if !strange.is_empty() {
                sent = sent.header("x-request-id", strange);
            }
            let answer = client.send(sent).await.expect(status);
            let id = answer.header("x-request-id").unwrap().to_owned();
            assert_ne!(id, strange);
            if status >= 400 {
                assert_eq!(answer.json["request_id"], id);
            }
            own.insert(id);
        }
        assert_eq!(own.len(), 5, "each its own");
    }
}

/// Link of a list, upload URL and download URL, as the server gives them for these headers.
async fn urls(client: &Client, headers: &str, name: &str) -> [String; 3] {
    let list = client.wire(request("GET", "/flows?limit=1", headers)).await;
    let link = list.header("link").unwrap().strip_prefix('<').unwrap().split('>').next().unwrap().to_owned();
    let body = json!({"object_ids": [name]}).to_string();
    let headers = format!("{headers}Content-Length: {}\r\n", body.len());
    let head = request("POST", &format!("/flows/{}/storage", id(1)), &headers);
    let storage = client.wire(format!("{head}{body}")).await;
    assert_eq!(storage.status, 201);
    let storage: Value = serde_json::from_slice(&storage.body).unwrap();
    let upload = storage["media_objects"][0]["put_url"]["url"].as_str().unwrap().to_owned();
    let headers = headers.rsplit_once("Content-Length").unwrap().0;
    let object = client.wire(request("GET", "/objects/o1", headers)).await;
    let object: Value = serde_json::from_slice(&object.body).unwrap();
    [link, upload, object["get_urls"][0]["url"].as_str().unwrap().to_owned()]
}

#[tokio::test]
async fn urls_lead_back_the_way_the_client_came() {
    let app = TestApp::start().await;
    furnished(&app).await;
    for (number, (headers, base)) in [
        ("", "http://tams.example/"),
        ("X-Forwarded-Proto: https\r\n", "https://tams.example/"),
        ("X-Forwarded-Proto: https\r\nX-Forwarded-Host: media.example:8443\r\n", "https://media.example:8443/"),
        (
            "X-Forwarded-Host: a.example, b.example\r\nX-Forwarded-Prefix: /tams/v8.2/\r\n",
            "http://a.example/tams/v8.2/",
        ),
        (
            "X-Forwarded-Proto: javascript\r\nX-Forwarded-Host: a b<>\r\nX-Forwarded-Prefix: /x>;\r\n",
            "http://tams.example/",
        ),
        ("X-Forwarded-Host: \"evil\"@x/..\r\n", "http://tams.example/"),
    ]
    .into_iter()
    .enumerate()
    {
        let [link, upload, download] = urls(&app.client, headers, &format!("n{number}")).await;
        assert!(link.starts_with(&format!("{base}flows?")), "{headers} {link}");
        assert!(upload.starts_with(&format!("{base}media/")), "{headers} {upload}");
        assert!(download.starts_with(&format!("{base}media/o1?")), "{headers} {download}");
        // The signature is of the object, not of the host.
        let path = download.strip_prefix(base).unwrap();
        let got = app.client.http.get(app.client.url(&format!("/{path}"))).send().await.unwrap();
        assert_eq!(got.status(), 200);
    }
}

#[tokio::test]
async fn a_public_url_beats_what_requests_say() {
    let app =
        TestApp::with(|config| config.http.public_url = Some("https://tams.example/v8.2/".into()), Clock::system())
            .await;
    let client = &app.client;
    for number in [1, 2] {
        client.make(&video_flow(number, 7)).await;
    }
    client.allocate(1, &["o1"]).await;
    client
        .post(&format!("/flows/{}/segments", id(1)), &json!({"object_id": "o1", "timerange": "[0:0]"}))
        .await
        .expect(201);
    for url in urls(client, "X-Forwarded-Host: evil.example\r\n", "n").await {
        assert!(url.starts_with("https://tams.example/v8.2/") && !url.contains("v8.2//"), "{url}");
    }
}

#[tokio::test]
async fn the_documents_work_without_a_network_and_name_every_operation() {
    let app = TestApp::start().await;
    let client = &app.client;
    let page = client.http.get(client.url("/docs")).send().await.unwrap();
    assert_eq!(page.status(), 200);
    assert!(page.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
    let page = page.text().await.unwrap();
    for elsewhere in ["src=\"http", "src='http", "src=\"//", "href=\"http", "@import", "url(http"] {
        assert!(!page.contains(elsewhere), "the page loads something from elsewhere: {elsewhere}");
    }
    let document = client.get("/openapi.json").await.expect(200).json;
    let mut described = BTreeSet::new();
    for operations in document["paths"].as_object().unwrap().values() {
        for operation in operations.as_object().unwrap().values() {
            described.extend(operation["operationId"].as_str().map(str::to_owned));
        }
    }
    for id in ["GET_root", "POST_service", "PUT_flows-flowId", "POST_flows-flowId-storage", "GET_objects"] {
        assert!(described.contains(id), "{id}");
    }
    let Some(specification) = specification("8.2") else { return };
    let yaml = std::fs::read_to_string(specification.join("TimeAddressableMediaStore.yaml")).unwrap();
    let official = yaml.lines().filter_map(|line| line.trim().strip_prefix("operationId: "));
    let ours = "GET_webhooks-webhookId-deliveries";
    let wanted: BTreeSet<String> = official.filter(|id| !id.starts_with("HEAD_")).map(str::to_owned).collect();
    assert!(wanted.len() > 40, "{wanted:?}");
    let missing: Vec<&String> = wanted.difference(&described).collect();
    assert!(missing.is_empty(), "not described: {missing:?}");
    let unheard: Vec<&String> =
        described.difference(&wanted).filter(|id| !yaml.contains(id.as_str()) && *id != ours).collect();
    assert!(unheard.is_empty(), "not in the specification: {unheard:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_stops_lets_an_upload_finish_and_keeps_everything() {
    let app = TestApp::start().await;
    furnished(&app).await;
    let client = app.client.clone();
    let url = client.allocate(1, &["slow"]).await[0].clone();
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel::<Result<Bytes, std::io::Error>>();
    let body = stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
    let upload = tokio::spawn(client.http.put(&url).body(reqwest::Body::wrap_stream(Box::pin(body))).send());
    sender.send(Ok("first ".into())).unwrap();
    let unfinished = app.folder.path().join("data/media/tmp");
    while std::fs::read_dir(&unfinished).unwrap().count() == 0 {
        assert!(!upload.is_finished());
        tokio::task::yield_now().await;
    }
    let before = client.everything().await;
    let mut idle = TcpStream::connect(client.authority()).await.unwrap();
    idle.write_all(b"GET /service HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    read_answer(&mut idle).await;

    let stopping = tokio::spawn(app.stop());
    while TcpStream::connect(client.authority()).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert_eq!(idle.read(&mut [0; 1]).await.unwrap(), 0, "a connection without a request is closed");
    assert!(!upload.is_finished() && !stopping.is_finished());
    sender.send(Ok("second".into())).unwrap();
    drop(sender);
    assert_eq!(upload.await.unwrap().unwrap().status(), 200);
    let folder = stopping.await.unwrap();

    let app = TestApp::with(|config| config.data.dir = folder.path().join("data"), Clock::system()).await;
    let client = &app.client;
    assert_eq!(client.everything().await, before);
    client
        .post(&format!("/flows/{}/segments", id(1)), &json!({"object_id": "slow", "timerange": "[9:0]"}))
        .await
        .expect(201);
    let url = client.get("/objects/slow").await.json["get_urls"][0]["url"].as_str().unwrap().to_owned();
    assert_eq!(client.http.get(url).send().await.unwrap().text().await.unwrap(), "first second");
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let app = TestApp::start().await;
    furnished(&app).await;
    let client = &app.client;
    let full = with(
        segment("external", "[100:0_101:0)"),
        json!({"ts_offset": "-5:0", "key_frame_count": 3, "last_duration": "0:1"}),
    );
    client.post(&format!("/flows/{}/segments", id(2)), &full).await.expect(201);
    client.put(&format!("/flows/{}/flow_collection", id(3)), &json!([{"id": id(1), "role": "x"}])).await.expect(204);
    client.put(&format!("/flows/{}/read_only", id(4)), &json!(true)).await.expect(204);
    client.put(&format!("/sources/{}/tags/t", id(7)), &json!(["a", "b"])).await.expect(204);
    client.delete(&format!("/flows/{}", id(5))).await.expect(204);
    let before = client.everything().await;
    let link = client.get("/flows?limit=3").await.next_link().unwrap();
    let rest = client.send(client.http.get(&link)).await.expect(200).json;
    let page = link.strip_prefix(&client.base).unwrap().to_owned();
    let folder = app.stop().await;
    let app = TestApp::with(|config| config.data.dir = folder.path().join("data"), Clock::system()).await;
    assert_eq!(app.client.everything().await, before);
    assert_eq!(app.client.get(&page).await.expect(200).json, rest, "page tokens survive");
}

#[tokio::test]
async fn bodies_that_are_read_slowly_cannot_fill_the_memory() {
    // Room for one body of the largest size.
    let app = TestApp::with(|config| config.http.max_bodies = config.http.max_body, Clock::system()).await;
    let client = &app.client;
    client.put(&format!("/flows/{}", id(1)), &video_flow(1, 101)).await.expect(201);
    let path = format!("/flows/{}/segments", id(1));
    let mut holder = TcpStream::connect(client.base.strip_prefix("http://").unwrap()).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 8000000\r\n\r\n["
    );
    holder.write_all(head.as_bytes()).await.unwrap();
    let large = Value::from(vec![segment("o", "[0:0_1:0)"); 5_000]);
    // From the moment on at which the first body is being read.
    let refused = loop {
        let answer = client.post(&path, &large).await;
        if answer.status == 503 {
            break answer;
        }
        assert_eq!(answer.status, 200, "{:?}", answer.json);
    };
    assert_eq!(refused.header("retry-after"), Some("1"));
    client.post(&path, &segment("o2", "[5:0_6:0)")).await.expect(201);
    drop(holder);
    while client.post(&path, &large).await.status == 503 {}
}

#[tokio::test]
async fn a_body_that_describes_one_thing_is_short() {
    let app = TestApp::start().await;
    app.client.put(&format!("/flows/{}", id(1)), &video_flow(1, 101)).await.expect(201);
    let label = Value::from("x".repeat(300_000));
    let answer = app.client.put(&format!("/flows/{}/label", id(1)), &label).await.expect(413);
    assert!(answer.json["message"].as_str().unwrap().contains("262144"), "{:?}", answer.json);
}
