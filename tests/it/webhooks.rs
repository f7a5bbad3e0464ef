//! Deliveries to a real receiver. Registration is in `conformance_webhooks`.
//! Spec: POST_webhooks, PUT_webhooks and the webhook events of TAMS 8.2

use std::time::Duration;

use serde_json::{Value, json};
use tamslake::clock::Clock;
use tamslake::config::{Config, Span};

use crate::helpers::{Client, Mode, Process, Received, Receiver, TestApp, id, multi_flow, video_flow, with};

const ALL: [&str; 8] = [
    "flows/created",
    "flows/updated",
    "flows/deleted",
    "flows/segments_added",
    "flows/segments_deleted",
    "sources/created",
    "sources/updated",
    "sources/deleted",
];

fn quick(config: &mut Config) {
    config.events.allow_private_targets = true;
    config.events.first_retry = Span(Duration::from_millis(10));
    config.events.longest_retry = Span(Duration::from_millis(50));
    config.events.timeout = Span(Duration::from_millis(300));
}

fn impatient(config: &mut Config) {
    quick(config);
    config.events.give_up_after = Span(Duration::from_millis(100));
}

async fn hook(client: &Client, receiver: &Receiver, change: Value) -> String {
    let hook = with(json!({"url": receiver.url(), "events": ALL}), change);
    let made = client.post("/service/webhooks", &hook).await.expect(201).json;
    format!("/service/webhooks/{}", made["id"].as_str().unwrap())
}

/// PUTs the webhook as it is, with changes.
async fn change(client: &Client, path: &str, change: Value) -> Value {
    let hook = with(client.get(path).await.expect(200).json, change);
    client.put(path, &hook).await.expect(201).json
}

/// Waits until the webhook has this status.
async fn until_status(client: &Client, path: &str, status: &str) -> Value {
    for _ in 0..600 {
        let hook = client.get(path).await.expect(200).json;
        if hook["status"] == status {
            return hook;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("never {status}: {}", client.get(path).await.json);
}

/// Objects of the segments that arrived of a Flow, each once, in the order of their first arrival.
fn objects(events: &[Received], flow: u32) -> Vec<String> {
    let mut objects = Vec::new();
    for event in events.iter().filter(|event| event.taken && event.json["event"]["flow_id"] == id(flow)) {
        for segment in event.json["event"]["segments"].as_array().into_iter().flatten() {
            let object = segment["object_id"].as_str().unwrap().to_owned();
            if !objects.contains(&object) {
                objects.push(object);
            }
        }
    }
    objects
}

async fn register(client: &Client, flow: u32, numbers: std::ops::Range<u32>) -> Vec<String> {
    let mut names = Vec::new();
    for n in numbers {
        names.push(format!("f{flow}-{n}"));
        client.register(flow, &names[names.len() - 1], &format!("[{n}:0_{}:0)", n + 1)).await;
    }
    names
}

#[tokio::test]
async fn all_events_arrive_in_order_though_the_receiver_fails_in_every_way() {
    let app = TestApp::with(quick, Clock::system()).await;
    let client = &app.client;
    let mut receiver = Receiver::start().await;
    for flow in 1..=3 {
        client.make(&video_flow(flow, flow)).await;
    }
    let path = hook(client, &receiver, json!({"events": ["flows/segments_added"]})).await;
    let mut sent = vec![Vec::new(); 4];
    for (round, what) in ["fine", "500", "hang", "429", "down", "fine"].into_iter().enumerate() {
        match what {
            "500" => receiver.answer(500),
            "429" => receiver.answer(429),
            "hang" => receiver.mode(Mode::Hang),
            "down" => receiver.go_down().await,
            _ => receiver.answer(204),
        }
        let (before, start) = (receiver.all().len(), u32::try_from(round).unwrap() * 10);
        for flow in 1..=3 {
            sent[usize::try_from(flow).unwrap()].extend(register(client, flow, start..start + 10).await);
        }
        match what {
            // It is tried at least twice before it is well again.
            "500" | "429" | "hang" => receiver.until(|all| all.len() >= before + 2).await,
            "down" => receiver.come_back().await,
            _ => receiver.until(|all| all.len() >= before + 10).await,
        }
        receiver.answer(200);
    }
    receiver.until(|all| (1..=3).all(|flow| objects(all, flow).len() == 60)).await;
    for flow in 1..=3 {
        assert_eq!(objects(&receiver.all(), flow), sent[usize::try_from(flow).unwrap()]);
    }
    assert_eq!(receiver.taken().len(), 180, "without a crash nothing comes twice");
    until_status(client, &path, "started").await;
    let attempts = client.get(&format!("{path}/deliveries")).await.expect(200).json;
    assert_eq!((&attempts[0]["status"], &attempts[0]["event_type"]), (&json!(200), &json!("flows/segments_added")));
    // Switched off and on, it starts from then.
    assert_eq!(change(client, &path, json!({"status": "disabled"})).await["status"], "disabled");
    register(client, 1, 100..105).await;
    assert_eq!(change(client, &path, json!({"status": "created"})).await["status"], "created");
    let after = register(client, 1, 105..106).await;
    receiver.until(|all| objects(all, 1).last() == after.last()).await;
    assert_eq!(objects(&receiver.all(), 1).len(), 61, "what happened meanwhile is not told");
    // Removed, it is told nothing.
    let other = hook(client, &receiver, json!({"events": ["flows/updated"]})).await;
    client.delete(&path).await.expect(204);
    register(client, 1, 106..107).await;
    client.put(&format!("/flows/{}/label", id(1)), &json!("x")).await.expect(204);
    receiver.until(|all| all.last().is_some_and(|last| last.kind() == "flows/updated")).await;
    assert_eq!(objects(&receiver.all(), 1).len(), 61);
    client.delete(&other).await.expect(204);
    app.stop().await;
}

#[tokio::test]
async fn nothing_is_lost_when_the_server_is_killed_while_it_delivers() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [
        ("TAMSLAKE__EVENTS__ALLOW_PRIVATE_TARGETS", "true"),
        ("TAMSLAKE__EVENTS__FIRST_RETRY", "20ms"),
        ("TAMSLAKE__EVENTS__LONGEST_RETRY", "50ms"),
    ];
    let receiver = Receiver::start().await;
    let mut sent = Vec::new();
    for round in 0..4 {
        let server = Process::start_with(folder.path(), &settings).unwrap();
        if round == 0 {
            server.client.make(&video_flow(1, 1)).await;
            hook(&server.client, &receiver, json!({"api_key_name": "X-Key", "api_key_value": "s3cret"})).await;
        }
        receiver.answer(if round == 2 { 503 } else { 200 });
        sent.extend(register(&server.client, 1, round * 20..round * 20 + 20).await);
        // Killed while some are delivered, and some are not.
        let before = receiver.all().len();
        if objects(&receiver.all(), 1).len() < sent.len() {
            receiver.until(|all| all.len() > before || objects(all, 1).len() == sent.len()).await;
        }
        server.kill();
    }
    let server = Process::start_with(folder.path(), &settings).unwrap();
    receiver.until(|all| objects(all, 1).len() == sent.len()).await;
    assert_eq!(objects(&receiver.all(), 1), sent);
    assert!(receiver.all().iter().all(|event| event.header("x-key") == Some("s3cret")));
    server.kill();
    // At rest the secret is sealed.
    for entry in files(folder.path()) {
        let bytes = std::fs::read(&entry).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"s3cret"), "{}", entry.display());
    }
}

fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[tokio::test]
async fn a_webhook_that_cannot_be_reached_is_given_up_and_goes_on_where_it_stopped() {
    let app = TestApp::with(impatient, Clock::system()).await;
    let client = &app.client;
    client.make(&video_flow(1, 1)).await;
    let receiver = Receiver::start().await;
    let path = hook(client, &receiver, json!({})).await;
    let mut sent = register(client, 1, 0..3).await;
    receiver.until(|all| objects(all, 1).len() == 3).await;
    receiver.answer(503);
    sent.extend(register(client, 1, 3..6).await);
    let given_up = until_status(client, &path, "error").await;
    assert_eq!(given_up["error"]["type"], "delivery_failed");
    let summary = given_up["error"]["summary"].as_str().unwrap();
    assert!(summary.starts_with("HTTP 503 from the receiver, ") && summary.ends_with(" attempts"), "{summary}");
    assert!(given_up["error"]["time"].is_string());
    // Nothing is sent while it is in error, not even when all is well again.
    let before = receiver.all().len();
    receiver.answer(200);
    sent.extend(register(client, 1, 6..8).await);
    assert_eq!(receiver.all().len(), before);
    let refused = with(given_up, json!({"status": "disabled"}));
    client.put(&path, &refused).await.expect(400);
    let hook = change(client, &path, json!({"status": "created"})).await;
    assert!(hook.get("error").is_none());
    receiver.until(|all| objects(all, 1).len() == sent.len()).await;
    assert_eq!(objects(&receiver.all(), 1), sent);
    until_status(client, &path, "started").await;
}

#[tokio::test]
async fn what_its_owner_changes_counts_from_the_next_attempt_on() {
    let app = TestApp::with(
        |config| {
            quick(config);
            // So long that only the change can cut it short.
            config.events.first_retry = Span(Duration::from_secs(600));
            config.events.longest_retry = Span(Duration::from_secs(600));
        },
        Clock::system(),
    )
    .await;
    let client = &app.client;
    client.make(&video_flow(1, 1)).await;
    let (wrong, right) = (Receiver::start().await, Receiver::start().await);
    wrong.answer(500);
    let key = json!({"api_key_name": "X-Key", "api_key_value": "one"});
    let path = hook(client, &wrong, key).await;
    let sent = register(client, 1, 0..3).await;
    wrong.until(|all| all.len() == 1).await;
    // Nobody can have the secret sent elsewhere who does not know it.
    let moved = with(client.get(&path).await.json, json!({"url": right.url(), "status": "created"}));
    client.put(&path, &moved).await.expect(400);
    change(client, &path, json!({"url": right.url(), "api_key_value": "one", "status": "created"})).await;
    right.until(|all| objects(all, 1) == sent).await;
    assert!(right.all().iter().all(|event| event.header("x-key") == Some("one")));
    // Where it was sent before it goes again, although its owner cannot read it.
    change(client, &path, json!({"tags": {"a": "b"}, "status": "created"})).await;
    let more = register(client, 1, 10..11).await;
    right.until(|all| objects(all, 1).ends_with(&more)).await;
    assert!(right.all().iter().all(|event| event.header("x-key") == Some("one")));
    // Another filter holds for what happens from now on, another secret too.
    let other = json!({"events": ["sources/updated"], "api_key_value": "two", "status": "created"});
    change(client, &path, other).await;
    register(client, 1, 3..4).await;
    client.put(&format!("/sources/{}/label", id(1)), &json!("x")).await.expect(204);
    right.until(|all| all.len() == 5).await;
    let last = &right.all()[4];
    assert_eq!((last.kind(), last.header("x-key")), ("sources/updated", Some("two")));
    assert_eq!(wrong.all().len(), 1);
    app.stop().await;
}

#[tokio::test]
async fn a_receiver_that_refuses_is_asked_a_few_times_and_redirects_are_not_followed() {
    let app = TestApp::with(quick, Clock::system()).await;
    let client = &app.client;
    client.make(&video_flow(1, 1)).await;
    let (receiver, secret_place) = (Receiver::start().await, Receiver::start().await);
    let path = hook(client, &receiver, json!({})).await;
    for (status, header) in [(403, String::new()), (302, format!("Location: {}\r\n", secret_place.url()))] {
        let before = receiver.all().len();
        receiver.mode(Mode::Answer(status, header));
        client.put(&format!("/flows/{}/label", id(1)), &json!(status.to_string())).await.expect(204);
        let hook = until_status(client, &path, "error").await;
        assert_eq!(hook["error"]["summary"], format!("HTTP {status} from the receiver, 4 attempts"));
        assert_eq!(receiver.all().len(), before + 4);
        receiver.answer(200);
        change(client, &path, json!({"status": "created"})).await;
        receiver.until(|all| all.last().is_some_and(|last| last.taken)).await;
    }
    assert!(secret_place.all().is_empty());
}

#[tokio::test]
async fn what_was_allowed_once_is_judged_again_at_each_delivery() {
    let app = TestApp::with(quick, Clock::system()).await;
    app.client.make(&video_flow(1, 1)).await;
    let receiver = Receiver::start().await;
    let by_address = hook(&app.client, &receiver, json!({})).await;
    let url = receiver.url().replace("127.0.0.1", "localhost");
    let by_name = hook(&app.client, &receiver, json!({"url": url})).await;
    let folder = app.stop().await;
    let strict = |config: &mut Config| {
        quick(config);
        config.events.allow_private_targets = false;
        config.data.dir = folder.path().join("data");
    };
    let app = TestApp::with(strict, Clock::system()).await;
    for url in [receiver.url(), url] {
        let refused = app.client.post("/service/webhooks", &json!({"url": url, "events": ALL})).await.expect(400);
        assert!(refused.json["summary"].as_str().unwrap().contains("is not a public address"), "{refused:?}");
    }
    app.client.put(&format!("/flows/{}/label", id(1)), &json!("x")).await.expect(204);
    for path in [by_address, by_name] {
        let hook = until_status(&app.client, &path, "error").await;
        assert!(hook["error"]["summary"].as_str().unwrap().contains("is not a public address"), "{hook}");
    }
    assert!(receiver.all().is_empty());
}

#[tokio::test]
async fn webhooks_choose_events_and_shape_their_segments() {
    let app = TestApp::with(quick, Clock::system()).await;
    let client = &app.client;
    let receivers = [(); 6].map(|()| Receiver::start());
    let [flow, source, collected, alone, none, plain] =
        futures::future::join_all(receivers).await.try_into().ok().unwrap();
    for n in 1..=3 {
        client.make(&video_flow(n, n)).await;
    }
    client.make(&multi_flow(9, 9)).await;
    client.put(&format!("/flows/{}/flow_collection", id(9)), &json!([{"id": id(1), "role": "v"}])).await.expect(204);
    hook(client, &flow, json!({"flow_ids": [id(1)], "include_object_timerange": true, "accept_get_urls": []})).await;
    hook(client, &source, json!({"source_ids": [id(2)]})).await;
    hook(client, &collected, json!({"flow_collected_by_ids": [id(9)], "source_collected_by_ids": [id(9), id(8)]}))
        .await;
    hook(client, &alone, json!({"flow_collected_by_ids": [], "events": ["flows/segments_added"]})).await;
    hook(client, &none, json!({"events": []})).await;
    let plain_hook = json!({"events": ["flows/segments_added", "sources/updated"], "verbose_storage": true});
    hook(client, &plain, plain_hook).await;
    for n in 1..=3 {
        register(client, n, 0..1).await;
        client.put(&format!("/sources/{}/label", id(n)), &json!("x")).await.expect(204);
    }
    let seen = |receiver: &Receiver| -> Vec<(String, String)> {
        let of = |event: &Received| {
            let about = &event.json["event"];
            let about = about["flow_id"].as_str().or(about["source"]["id"].as_str()).unwrap().to_owned();
            (event.kind().to_owned(), about)
        };
        receiver.taken().iter().map(of).collect()
    };
    plain.until(|all| all.len() == 6).await;
    let (added, updated) = ("flows/segments_added".to_owned(), "sources/updated".to_owned());
    flow.until(|all| all.len() == 4).await;
    let wanted = [(added.clone(), id(1)), (updated.clone(), id(1)), (updated.clone(), id(2)), (updated.clone(), id(3))];
    assert_eq!(seen(&flow), wanted, "filters of Flows leave Sources alone");
    source.until(|all| all.len() == 2).await;
    assert_eq!(seen(&source), [(added.clone(), id(2)), (updated.clone(), id(2))]);
    collected.until(|all| all.len() == 2).await;
    assert_eq!(seen(&collected), [(added.clone(), id(1)), (updated, id(1))]);
    alone.until(|all| all.len() == 2).await;
    assert_eq!(seen(&alone), [(added.clone(), id(2)), (added, id(3))]);
    assert!(none.all().is_empty());
    let shaped = &flow.taken()[0].json["event"]["segments"][0];
    assert!(shaped.get("get_urls").is_none() && shaped["object_timerange"] == "[0:0_1:0)", "{shaped}");
    let shaped = &plain.taken()[0].json["event"]["segments"][0];
    assert_eq!(shaped["get_urls"][0]["controlled"], false);
    let event = &plain.taken()[0];
    assert_eq!(event.header("content-type"), Some("application/json"));
    assert!(event.header("cookie").is_none() && event.header("authorization").is_none());
    assert!(event.json["event_timestamp"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test]
async fn what_the_log_does_not_reach_back_to_is_said_to_be_lost() {
    let settings = |config: &mut Config| {
        impatient(config);
        // The log is cut in blocks of a thousand.
        config.catalog.checkpoint_entries = 300;
        config.catalog.log_retention = Span(Duration::ZERO);
    };
    let app = TestApp::with(settings, Clock::system()).await;
    let client = &app.client;
    client.make(&video_flow(1, 1)).await;
    let mut receiver = Receiver::start().await;
    let path = hook(client, &receiver, json!({})).await;
    receiver.go_down().await;
    let label = format!("/sources/{}/label", id(1));
    client.put(&label, &json!("lost")).await.expect(204);
    until_status(client, &path, "error").await;
    for n in 0..1_300 {
        client.put(&label, &json!(n.to_string())).await.expect(204);
    }
    let folder = app.stop().await;
    let elsewhere = |config: &mut Config| {
        settings(config);
        config.data.dir = folder.path().join("data");
    };
    let app = TestApp::with(elsewhere, Clock::system()).await;
    let client = &app.client;
    receiver.come_back().await;

    let stream = tokio::time::timeout(Duration::from_secs(10), client.get("/events?last_event_id=1-0")).await;
    let gone = stream.unwrap().expect(410);
    assert_eq!(gone.error_type(), "events_gone");
    assert!(gone.json["summary"].as_str().unwrap().contains("log_retention"), "{gone:?}");

    change(client, &path, json!({"status": "created"})).await;
    let hook = until_status(client, &path, "error").await;
    assert_eq!(hook["error"]["type"], "events_lost", "its owner has to learn of it");
    change(client, &path, json!({"status": "created"})).await;
    client.put(&label, &json!("told")).await.expect(204);
    receiver.until(|all| !all.is_empty()).await;
    assert_eq!(receiver.all()[0].json["event"]["source"]["label"], "told");
    assert_eq!(until_status(client, &path, "started").await.get("error"), None);
}
