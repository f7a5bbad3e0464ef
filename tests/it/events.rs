//! What changes tell, and the streams that tell it. Spec: the webhook events of TAMS 8.2

use std::time::Duration;

use serde_json::{Value, json};
use tamslake::clock::Clock;
use tamslake::config::Span;

use crate::helpers::{Client, Process, Socket, Sse, TestApp, Told, id, multi_flow, segment, video_flow, with};

fn kinds(told: &[Told]) -> Vec<&str> {
    told.iter().map(|event| event.kind.as_str()).collect()
}

/// Tells what a change told: a change of its own marks the end.
struct Listener {
    stream: Sse,
    marks: usize,
}

const MARK: u32 = 999;

impl Listener {
    async fn new(client: &Client) -> Self {
        client.make(&multi_flow(MARK, MARK)).await;
        Self { stream: Sse::open(client, "", None).await, marks: 0 }
    }

    async fn told(&mut self, client: &Client) -> Vec<Told> {
        self.marks += 1;
        let mark = json!(self.marks.to_string());
        client.put(&format!("/sources/{}/label", id(MARK)), &mark).await.expect(204);
        let mut told = self.stream.until(|told| told.json["event"]["source"]["label"] == mark).await;
        told.pop();
        told
    }
}

#[tokio::test]
async fn every_change_tells_exactly_its_events() {
    let app = TestApp::start().await;
    let client = &app.client;
    let mut listener = Listener::new(client).await;

    client.make(&video_flow(1, 1)).await;
    let told = listener.told(client).await;
    assert_eq!(kinds(&told), ["sources/created", "flows/created"]);
    assert_eq!(told[0].json["event"]["source"], client.get(&format!("/sources/{}", id(1))).await.json);
    assert_eq!(told[1].json["event"]["flow"], client.get(&format!("/flows/{}", id(1))).await.json);

    client.make(&video_flow(2, 1)).await;
    assert_eq!(kinds(&listener.told(client).await), ["flows/created"]);

    client.put(&format!("/flows/{}", id(1)), &with(video_flow(1, 1), json!({"label": "a"}))).await.expect(204);
    let told = listener.told(client).await;
    assert_eq!(kinds(&told), ["flows/updated"]);
    assert_eq!(told[0].json["event"]["flow"]["label"], "a");

    // Moved to a Source of its own, and back.
    client.put(&format!("/flows/{}", id(2)), &video_flow(2, 3)).await.expect(204);
    let told = listener.told(client).await;
    assert_eq!(kinds(&told).len(), 2, "{told:?}");
    assert!(kinds(&told).contains(&"sources/created") && kinds(&told).contains(&"flows/updated"));
    client.put(&format!("/flows/{}", id(2)), &video_flow(2, 1)).await.expect(204);
    let told = listener.told(client).await;
    assert!(kinds(&told).contains(&"sources/deleted") && kinds(&told).contains(&"flows/updated"), "{told:?}");

    let flow = format!("/flows/{}", id(1));
    for (path, value) in [
        ("label", json!("b")),
        ("description", json!("c")),
        ("tags/x", json!("y")),
        ("max_bit_rate", json!(5)),
        ("avg_bit_rate", json!(4)),
        ("read_only", json!(true)),
        ("read_only", json!(false)),
    ] {
        client.put(&format!("{flow}/{path}"), &value).await.expect(204);
        assert_eq!(kinds(&listener.told(client).await), ["flows/updated"], "{path}");
    }
    for path in ["label", "description", "tags/x", "max_bit_rate"] {
        client.delete(&format!("{flow}/{path}")).await.expect(204);
        assert_eq!(kinds(&listener.told(client).await), ["flows/updated"], "DELETE {path}");
    }
    let source = format!("/sources/{}", id(1));
    for (path, value) in [("label", json!("b")), ("description", json!("c")), ("tags/x", json!("y"))] {
        client.put(&format!("{source}/{path}"), &value).await.expect(204);
        assert_eq!(kinds(&listener.told(client).await), ["sources/updated"], "{path}");
        client.delete(&format!("{source}/{path}")).await.expect(204);
        assert_eq!(kinds(&listener.told(client).await), ["sources/updated"], "DELETE {path}");
    }

    client.make(&multi_flow(5, 5)).await;
    listener.told(client).await;
    client.put(&format!("/flows/{}/flow_collection", id(5)), &json!([{"id": id(1), "role": "v"}])).await.expect(204);
    let told = listener.told(client).await;
    assert_eq!(kinds(&told), ["flows/updated"], "members and Sources tell nothing");
    assert_eq!(told[0].json["event"]["flow"]["id"], id(5));

    // What is no change of a Flow or a Source, and what fails.
    client.allocate(1, &["waiting"]).await;
    client.post("/service", &json!({"name": "n"})).await.expect(200);
    client.put(&format!("{flow}/label"), &json!(5)).await.expect(400);
    client.post(&format!("{flow}/segments"), &json!({"object_id": "none", "timerange": "[0:0_1:0)"})).await.expect(400);
    client.delete(&format!("{flow}/segments")).await.expect(204);
    assert_eq!(kinds(&listener.told(client).await), [""; 0]);
}

#[tokio::test]
async fn segments_tell_what_was_added_and_what_was_really_deleted() {
    let app = TestApp::start().await;
    let client = &app.client;
    client.make(&video_flow(1, 1)).await;
    let mut listener = Listener::new(client).await;
    let segments = format!("/flows/{}/segments", id(1));
    client.register(1, "o0", "[0:0_1:0)").await;
    let told = listener.told(client).await;
    assert_eq!(kinds(&told), ["flows/segments_added"]);
    assert_eq!(told[0].json["event"]["flow_id"], id(1));
    assert_eq!(told[0].json["event"]["segments"], client.get(&segments).await.json);

    // Of a list with failures only what was stored is told.
    let list: Vec<Value> = (0..6).map(|n| segment(&format!("o{}", n + 10), &format!("[{n}:0_{}:0)", n + 1))).collect();
    let answer = client.post(&segments, &json!(list)).await.expect(200);
    assert_eq!(answer.json["failed_segments"].as_array().unwrap().len(), 1);
    let told = listener.told(client).await;
    assert_eq!(kinds(&told), ["flows/segments_added"]);
    assert_eq!(told[0].json["event"]["segments"].as_array().unwrap().len(), 5);

    let many: Vec<Value> = (0..250).map(|n| segment(&format!("p{n}"), &format!("[{n}:0_{}:0)", n + 1))).collect();
    let moved: Vec<Value> = many
        .iter()
        .enumerate()
        .map(|(n, one)| with(one.clone(), json!({"timerange": format!("[{}:0_{}:0)", n + 100, n + 101)})))
        .collect();
    client.post(&segments, &json!(moved)).await.expect(201);
    let told = listener.told(client).await;
    let counts: Vec<usize> = told.iter().map(|t| t.json["event"]["segments"].as_array().unwrap().len()).collect();
    assert_eq!(counts, [100, 100, 50]);

    // The range asked for is larger than what lies in it, and [2:0_3:0) survives as [1:5..] cuts it.
    client.delete(&format!("{segments}?timerange=[-5:0_2:500000000)")).await.expect(204);
    let told = listener.told(client).await;
    assert_eq!(kinds(&told), ["flows/segments_deleted"]);
    assert_eq!(told[0].json["event"], json!({"flow_id": id(1), "timerange": "[0:0_2:0)"}));
    // One object in the middle goes: the ones around it stay.
    client.delete(&format!("{segments}?object_id=o13")).await.expect(204);
    assert_eq!(listener.told(client).await[0].json["event"]["timerange"], "[3:0_4:0)");

    client.delete(&format!("/flows/{}", id(1))).await;
    let mut told = listener.told(client).await;
    let last = told.split_off(told.len() - 2);
    assert_eq!(kinds(&last), ["flows/deleted", "sources/deleted"]);
    assert!(told.iter().all(|event| event.kind == "flows/segments_deleted"), "{told:?}");
    assert_eq!(
        (&last[0].json["event"], &last[1].json["event"]),
        (&json!({"flow_id": id(1)}), &json!({"source_id": id(1)}))
    );
}

#[tokio::test]
async fn a_stream_goes_on_after_the_last_event_with_nothing_missing_though_the_server_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path()).unwrap();
    server.client.make(&video_flow(1, 1)).await;
    let mut stream = Sse::open(&server.client, "last_event_id=0-0", None).await;
    for n in 0..5 {
        server.client.register(1, &format!("o{n}"), &format!("[{n}:0_{}:0)", n + 1)).await;
    }
    let seen = stream.until(|told| told.json.to_string().contains("\"o1\"")).await;
    server.kill();
    let server = Process::start(folder.path()).unwrap();
    for n in 5..8 {
        server.client.register(1, &format!("o{n}"), &format!("[{n}:0_{}:0)", n + 1)).await;
    }
    let last = &seen.last().unwrap().id;
    let mut stream = Sse::open(&server.client, "", Some(last)).await;
    let rest = stream.until(|told| told.json.to_string().contains("\"o7\"")).await;
    let objects: Vec<_> = rest.iter().map(|told| told.json["event"]["segments"][0]["object_id"].clone()).collect();
    assert_eq!(objects, ["o2", "o3", "o4", "o5", "o6", "o7"]);
    // The header knows better than the URL.
    let query = format!("last_event_id={}", rest.last().unwrap().id);
    let mut again = Sse::open(&server.client, &query, Some(last)).await;
    assert_eq!(again.until(|told| told.id == rest[5].id).await, rest);
    let whole = Sse::open(&server.client, "last_event_id=0-0", None).await.until(|told| told.id == rest[5].id).await;
    assert_eq!(whole.len(), 2 + 8);
    assert!(whole.windows(2).all(|pair| pair[0].id != pair[1].id));
}

#[tokio::test]
async fn streams_have_the_filters_of_webhooks() {
    let app = TestApp::start().await;
    let client = &app.client;
    client.make(&video_flow(1, 1)).await;
    client.make(&video_flow(2, 2)).await;
    client.register(1, "o1", "[0:0_1:0)").await;
    client.register(2, "o2", "[0:0_1:0)").await;
    let told = |query: String| async move {
        let query = format!("last_event_id=0-0&{query}");
        Sse::open(client, &query, None).await.next().await.unwrap()
    };
    let of = |told: Told| (told.kind, told.json["event"].clone());
    let (kind, event) = of(told(format!("events=flows/segments_added&flow_ids={}", id(2))).await);
    assert_eq!((kind.as_str(), &event["flow_id"]), ("flows/segments_added", &json!(id(2))));
    assert_eq!(event["segments"][0]["get_urls"][0]["label"], "cdn");
    let (_, event) =
        of(told("events=flows/segments_added&accept_get_urls=&include_object_timerange=true".into()).await);
    assert!(event["segments"][0].get("get_urls").is_none());
    assert_eq!(event["segments"][0]["object_timerange"], "[0:0_1:0)");
    let (kind, event) = of(told(format!("source_ids={}&events=flows/created,flows/deleted", id(2))).await);
    assert_eq!((kind.as_str(), &event["flow"]["id"]), ("flows/created", &json!(id(2))));
    for bad in ["events=flows/unheard", "flow_ids=x", "presigned=perhaps", "last_event_id=x", "last_event_id=999999-0"]
    {
        client.get(&format!("/events?{bad}")).await.expect(400);
    }
    client.post("/events", &json!({})).await.expect(405);
    client.get("/events/ws").await.expect(426);
}

#[tokio::test]
async fn a_socket_tells_the_same_as_a_stream() {
    let app = TestApp::start().await;
    let client = &app.client;
    let mut socket = Socket::open(client, "events=flows/created,flows/segments_added").await;
    client.make(&video_flow(1, 1)).await;
    client.register(1, "o1", "[0:0_1:0)").await;
    let mut stream = Sse::open(client, "last_event_id=0-0&events=flows/created,flows/segments_added", None).await;
    for _ in 0..2 {
        let (mut by_socket, by_stream) = (socket.next().await.unwrap(), stream.next().await.unwrap());
        let id = by_socket.as_object_mut().unwrap().remove("id").unwrap();
        assert_eq!((id, by_socket), (json!(by_stream.id), by_stream.json));
    }
    let mut again = Socket::open(client, "last_event_id=0-0").await;
    assert_eq!(again.next().await.unwrap()["event_type"], "sources/created");
}

#[tokio::test]
async fn streams_show_signs_of_life_and_end_with_the_server() {
    let change = |config: &mut tamslake::config::Config| {
        config.events.heartbeat = Span(Duration::from_millis(20));
        config.events.max_streams = 2;
        config.http.shutdown_grace = Span(Duration::from_secs(20));
    };
    let app = TestApp::with(change, Clock::system()).await;
    let client = app.client.clone();
    let mut stream = Sse::open(&client, "", None).await;
    let mut socket = Socket::open(&client, "").await;
    let busy = client.get("/events").await.expect(503);
    assert!(busy.header("retry-after").is_some());
    let silent = tokio::time::timeout(Duration::from_millis(200), stream.next()).await;
    assert!(silent.is_err() && stream.heartbeats > 0, "{silent:?}");
    let stopped = tokio::time::timeout(Duration::from_secs(10), app.stop()).await;
    assert!(stopped.is_ok(), "the streams kept the server from stopping");
    assert_eq!((stream.next().await, socket.next().await), (None, None));
}
