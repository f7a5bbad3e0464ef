//! Webhooks as clients of TAMS 7.0 register them: by URL and key. Spec: GET_webhooks, POST_webhooks of 7.0

use std::time::Duration;

use serde_json::{Value, json};
use tamslake::clock::Clock;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::helpers::{Client, TestApp, audio_flow, contract, id, video_flow, with};

const HOOKS: &str = "/service/webhooks";

fn v7(app: &TestApp) -> Client {
    Client::new(app.client.url("/v7.0"))
}

fn hook(key: &str, events: &[&str]) -> Value {
    json!({"url": "https://hook.example/a", "api_key_name": "X-Key", "api_key_value": key, "events": events})
}

async fn listed(app: &TestApp) -> Vec<Value> {
    app.client.get(HOOKS).await.expect(200).json.as_array().unwrap().clone()
}

#[tokio::test]
async fn the_same_url_and_key_are_the_same_webhook() {
    let app = TestApp::start().await;
    let client = v7(&app);
    for events in [&["flows/created"][..], &["flows/created"], &["flows/deleted", "sources/created"]] {
        let made = client.post(HOOKS, &hook("a", events)).await.expect(201);
        assert_eq!(made.json, Value::Null);
    }
    let one = listed(&app).await;
    assert_eq!((one.len(), &one[0]["events"]), (1, &json!(["flows/deleted", "sources/created"])));
    // Another key, another name of the key, no key, another URL: four others.
    client.post(HOOKS, &hook("b", &["flows/created"])).await.expect(201);
    client.post(HOOKS, &with(hook("a", &["flows/created"]), json!({"api_key_name": "X-Other"}))).await.expect(201);
    client.post(HOOKS, &json!({"url": "https://hook.example/a", "events": ["flows/created"]})).await.expect(201);
    client
        .post(HOOKS, &with(hook("a", &["flows/created"]), json!({"url": "https://hook.example/b"})))
        .await
        .expect(201);
    let all = client.get(HOOKS).await.expect(200).json;
    assert_eq!(all.as_array().unwrap().len(), 5);
    assert!(!all.to_string().contains("api_key_value"));
    assert!(all.as_array().unwrap().iter().any(|other| other["id"] == one[0]["id"]), "it is still the same one");
}

#[tokio::test]
async fn no_events_remove_the_webhook() {
    let app = TestApp::start().await;
    let client = v7(&app);
    client.post(HOOKS, &hook("a", &["flows/created"])).await.expect(201);
    client.post(HOOKS, &hook("b", &["flows/created"])).await.expect(201);
    for _ in 0..2 {
        assert_eq!(client.post(HOOKS, &hook("a", &[])).await.expect(204).json, Value::Null);
        assert_eq!(listed(&app).await.len(), 1);
    }
    client.post(HOOKS, &hook("b", &[])).await.expect(204);
    assert!(listed(&app).await.is_empty());
    // In 8.2 the same is a webhook that is told nothing.
    app.client.post(HOOKS, &hook("a", &[])).await.expect(201);
    assert_eq!(listed(&app).await.len(), 1);
}

#[tokio::test]
async fn a_registration_may_say_what_8_2_would_refuse() {
    let app = TestApp::start().await;
    let client = v7(&app);
    let lax = json!({
        "events": ["flows/created", "flows/painted"], "flow_ids": [], "source_ids": [], "flow_collected_by_ids": [],
        "source_collected_by_ids": [], "status": "started",
    });
    client.post(HOOKS, &with(hook("a", &[]), lax)).await.expect(201);
    let made = listed(&app).await.remove(0);
    assert_eq!(made["events"], json!(["flows/created"]));
    for key in ["flow_ids", "source_ids", "flow_collected_by_ids", "source_collected_by_ids"] {
        assert_eq!(made.get(key), None);
    }
    // Events that never happen are not the same as no events.
    client.post(HOOKS, &hook("a", &["flows/painted"])).await.expect(201);
    assert_eq!(listed(&app).await[0]["events"], json!([]));
    for (wrong, key) in [
        (json!({"events": "flows/created"}), "events"),
        (json!({"url": "ftp://hook.example"}), "url"),
        (json!({"flow_ids": ["x"]}), "flow_ids"),
    ] {
        let refused = client.post(HOOKS, &with(hook("a", &["flows/created"]), wrong)).await.expect(400);
        assert_eq!(refused.json["message"][0]["loc"][1], key);
    }
    client.raw(reqwest::Method::POST, HOOKS, None, "[]").await.expect(400);
}

#[tokio::test]
async fn what_8_2_knows_of_a_webhook_survives_7_0() {
    let app = TestApp::start().await;
    let modern = json!({
        "tags": {"owner": ["a", "b"]}, "include_object_timerange": true, "source_collected_by_ids": [],
    });
    let made = app.client.post(HOOKS, &with(hook("a", &["flows/created"]), modern)).await.expect(201).json;
    v7(&app).post(HOOKS, &hook("a", &["flows/deleted"])).await.expect(201);
    let after = listed(&app).await.remove(0);
    assert_eq!(after, with(made, json!({"events": ["flows/deleted"]})));
}

#[tokio::test]
async fn event_streams_speak_the_version_of_their_path() {
    let app = TestApp::start().await;
    for (number, (prefix, tag)) in [("/v7.0", r#""a":"b,c""#), ("", r#""a":["b","c"]"#)].into_iter().enumerate() {
        let url = app.client.url(&format!("{prefix}/events?events=flows/created"));
        let mut stream = app.client.http.get(url).send().await.unwrap();
        let number = u32::try_from(number).unwrap() + 1;
        app.client.make(&with(audio_flow(number, number), json!({"tags": {"a": ["b", "c"]}}))).await;
        let mut seen = String::new();
        while !seen.contains(tag) {
            let chunk = tokio::time::timeout(Duration::from_secs(20), stream.chunk()).await.unwrap().unwrap();
            seen.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
        }
    }
}

/// Takes one delivery after the other and hands out their bodies.
async fn receiver() -> (String, mpsc::UnboundedReceiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (sender, bodies) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let sender = sender.clone();
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                loop {
                    let (mut line, mut length) = (String::new(), 0);
                    while stream.read_line(&mut line).await.is_ok_and(|read| read > 2) {
                        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                            length = value.trim().parse().unwrap();
                        }
                        line.clear();
                    }
                    let mut body = vec![0; length];
                    if length == 0 || stream.read_exact(&mut body).await.is_err() {
                        return;
                    }
                    // The test may have seen enough.
                    let _ = sender.send(serde_json::from_slice(&body).unwrap());
                    if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (url, bodies)
}

#[tokio::test]
async fn events_are_told_in_the_version_of_the_registration() {
    let app = TestApp::with(|config| config.events.allow_private_targets = true, Clock::system()).await;
    let (old_url, mut old) = receiver().await;
    let (new_url, mut new) = receiver().await;
    let kinds = json!(["flows/created", "sources/created", "flows/segments_added", "flows/segments_deleted"]);
    v7(&app).post(HOOKS, &json!({"url": old_url, "events": kinds, "verbose_storage": true})).await.expect(201);
    app.client.post(HOOKS, &json!({"url": new_url, "events": kinds})).await.expect(201);

    app.client.make(&audio_flow(2, 2)).await;
    let essence = json!({"frame_width": 1, "frame_height": 1, "vfr": true});
    let modern = json!({"tags": {"a": ["b", "c"]}, "essence_parameters": essence, "flow_collection": [{"id": id(2)}]});
    app.client.make(&with(video_flow(1, 1), modern)).await;
    app.client.register(1, "o1", "[0:0_1:0)").await;
    app.client.delete(&format!("/flows/{}/segments", id(1))).await.expect(204);

    let mut told = Vec::new();
    for (bodies, version) in [(&mut old, "7.0"), (&mut new, "8.2")] {
        let mut events = Vec::new();
        for _ in 0..6 {
            let event = tokio::time::timeout(Duration::from_secs(20), bodies.recv()).await.unwrap().unwrap();
            if version == "7.0" {
                check_event(&event);
            }
            events.push(event);
        }
        told.push(events);
    }
    let types = |events: &[Value]| events.iter().map(|event| event["event_type"].clone()).collect::<Vec<_>>();
    assert_eq!(types(&told[0]), types(&told[1]));
    // The const of 7.0's file is a slip of the pen.
    assert_eq!(types(&told[0]).last().unwrap(), "flows/segments_deleted");
    let of_flow = |events: &[Value]| {
        let flow = events.iter().map(|event| &event["event"]["flow"]).find(|flow| flow["id"] == id(1));
        flow.unwrap().clone()
    };
    let (old_flow, new_flow) = (of_flow(&told[0]), of_flow(&told[1]));
    assert_eq!((&old_flow["tags"]["a"], &new_flow["tags"]["a"]), (&json!("b,c"), &json!(["b", "c"])));
    assert_eq!(
        (old_flow["essence_parameters"].get("vfr"), &new_flow["essence_parameters"]["vfr"]),
        (None, &json!(true))
    );
    assert_eq!(old_flow["flow_collection"], json!([{"id": id(2), "role": "audio"}]));
}

/// The parts of an event that have a schema file of their own, in 7.0.
fn check_event(event: &Value) {
    if contract::Contract::of("7.0").is_none() {
        return;
    }
    let segments = event["event"]["segments"].as_array().into_iter().flatten().map(|segment| ("flow-segment", segment));
    let whole = ["flow", "source"].into_iter().filter_map(|key| Some((key, event["event"].get(key)?)));
    for (file, part) in segments.chain(whole) {
        let validator = contract::compile("7.0", &json!({"$ref": format!("schemas/{file}.json")}));
        let complaints: Vec<_> = validator.iter_errors(part).map(|error| error.to_string()).collect();
        assert!(complaints.is_empty(), "{complaints:?} in {event:#}");
    }
}
