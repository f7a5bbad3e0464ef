//! Requirements of `tests/matrix.csv` for webhooks: registration, filters and shapes. How deliveries survive failures is
//! in `webhooks`.
//! Spec: GET_webhooks, POST_webhooks, GET_webhooks-webhookId, PUT_webhooks, DELETE_webhooks-webhookId

use std::time::Duration;

use serde_json::{Value, json};
use tamslake::clock::Clock;
use tamslake::config::Span;

use crate::helpers::{Client, Receiver, TestApp, id, multi_flow, video_flow, with};

const LIST: &str = "/service/webhooks";

fn hook(change: Value) -> Value {
    with(json!({"url": "https://hook.example.com/a", "events": ["flows/created"]}), change)
}

async fn make(client: &Client, change: Value) -> Value {
    client.post(LIST, &hook(change)).await.expect(201).json
}

fn path(hook: &Value) -> String {
    format!("{LIST}/{}", hook["id"].as_str().unwrap())
}

#[tokio::test]
async fn a_webhook_gets_an_id_and_never_shows_its_secret() {
    let app = TestApp::start().await;
    let client = &app.client;
    assert!(client.get("/service").await.json["event_stream_mechanisms"].to_string().contains("\"webhooks\""));
    assert_eq!(client.get(LIST).await.expect(200).json, json!([]));
    let secret = json!({"api_key_name": "X-Key", "api_key_value": "s3cret", "id": id(5), "tags": {"a": ["b", "c"]}});
    let first = make(client, secret).await;
    assert_ne!(first["id"], id(5), "the server chooses");
    assert_eq!(first["id"].as_str().unwrap().as_bytes()[14], b'4', "random");
    assert_eq!((&first["status"], &first["api_key_name"]), (&json!("created"), &json!("X-Key")));
    assert_eq!((&first["tags"], first.get("error")), (&json!({"a": ["b", "c"]}), None));
    let second = make(client, json!({"api_key_name": "X-Key", "api_key_value": "s3cret"})).await;
    assert_ne!(first["id"], second["id"], "another one with the same target");
    let listed = client.get(LIST).await.expect(200);
    assert_eq!(listed.json.as_array().unwrap().len(), 2);
    let one = client.get(&path(&first)).await.expect(200);
    assert_eq!(one.json, first);
    client.head(&path(&first)).await.expect(200);
    client.head(LIST).await.expect(200);
    for shown in [first.clone(), second, listed.json, one.json] {
        assert!(!shown.to_string().contains("s3cret") && !shown.to_string().contains("api_key_value"), "{shown}");
    }
    client.delete(&path(&first)).await.expect(204);
    client.delete(&path(&first)).await.expect(404);
    for unknown in [path(&first), format!("{LIST}/x"), format!("{LIST}/{}", id(9))] {
        client.get(&unknown).await.expect(404);
        client.head(&unknown).await.expect(404);
        client.delete(&unknown).await.expect(404);
    }
    let change = with(first, json!({"status": "created"}));
    client.put(&path(&change), &change).await.expect(404);
    assert_eq!(client.get(LIST).await.json.as_array().unwrap().len(), 1, "nothing was made");
}

#[tokio::test]
async fn what_is_no_webhook_is_refused() {
    let app = TestApp::start().await;
    let client = &app.client;
    let mut bad = vec![json!({}), json!([]), json!({"url": "https://a.example"}), json!({"events": []})];
    for change in [
        json!({"events": ["flows/unheard_of"]}),
        json!({"events": "flows/created"}),
        json!({"events": null}),
        json!({"url": null}),
        json!({"url": ""}),
        json!({"url": "ftp://a.example"}),
        json!({"url": "file:///etc/passwd"}),
        json!({"url": "not a url"}),
        json!({"url": "https://user:password@a.example"}),
        json!({"url": "http://127.0.0.1:1/"}),
        json!({"url": "http://[::1]/"}),
        json!({"url": "http://169.254.169.254/latest"}),
        json!({"url": "http://10.0.0.1/"}),
        json!({"status": "started"}),
        json!({"status": "error"}),
        json!({"status": "unheard_of"}),
        json!({"api_key_name": "bad name", "api_key_value": "x"}),
        json!({"api_key_name": "Host", "api_key_value": "x"}),
        json!({"api_key_name": "Content-Length", "api_key_value": "x"}),
        json!({"flow_ids": ["x"]}),
        json!({"flow_ids": []}),
        json!({"source_ids": []}),
        json!({"flow_collected_by_ids": [5]}),
        json!({"accept_storage_ids": ["x"]}),
        json!({"accept_get_urls": "a"}),
        json!({"presigned": "true"}),
        json!({"verbose_storage": 1}),
        json!({"include_object_timerange": null}),
        json!({"tags": {"a": 1}}),
    ] {
        bad.push(hook(change));
    }
    for body in bad {
        let answer = client.post(LIST, &body).await;
        assert_eq!(answer.status.as_u16(), 400, "{body} {answer:?}");
    }
    assert_eq!(client.get(LIST).await.json, json!([]));
    for good in [
        json!({"events": []}),
        json!({"flow_ids": [id(9)], "source_ids": [id(9)], "flow_collected_by_ids": [], "source_collected_by_ids": []}),
        json!({"accept_get_urls": [], "accept_storage_ids": [], "presigned": false, "verbose_storage": true,
               "include_object_timerange": true}),
        json!({"status": "created"}),
        json!({"unheard_of": 1}),
    ] {
        let made = make(client, good.clone()).await;
        for (key, value) in good.as_object().unwrap().iter().filter(|(key, _)| *key != "unheard_of") {
            assert_eq!(&made[key], value, "{key}");
        }
    }
}

#[tokio::test]
async fn a_webhook_is_replaced_whole_but_keeps_its_secret() {
    let app = TestApp::start().await;
    let client = &app.client;
    let made = make(client, json!({"api_key_name": "X-Key", "api_key_value": "s", "flow_ids": [id(1)]})).await;
    let path = path(&made);
    let change = |change: Value| with(hook(json!({"id": made["id"], "status": "created"})), change);
    let now = client.put(&path, &change(json!({"events": ["flows/deleted"], "api_key_name": "X-Key"}))).await;
    let now = now.expect(201).json;
    assert_eq!((&now["events"], now.get("flow_ids")), (&json!(["flows/deleted"]), None));
    assert_eq!((&now["id"], &now["api_key_name"]), (&made["id"], &json!("X-Key")));
    assert_eq!(client.get(&path).await.json, now);
    for status in ["disabled", "created"] {
        let now = client.put(&path, &change(json!({"status": status, "error": {"type": "x"}}))).await.expect(201).json;
        assert_eq!((&now["status"], now.get("error")), (&json!(status), None));
    }
    for (key, value) in
        [("status", "started"), ("status", "error"), ("status", "x"), ("id", &id(9)), ("url", "ftp://x")]
    {
        client.put(&path, &change(json!({key: value}))).await.expect(400);
    }
    for key in ["id", "status", "url", "events"] {
        let mut lacking = change(json!({}));
        lacking.as_object_mut().unwrap().remove(key);
        client.put(&path, &lacking).await.expect(400);
    }
    assert_eq!(make(client, json!({"status": "disabled"})).await["status"], "disabled");
}

#[tokio::test]
async fn webhooks_are_sorted_by_url() {
    let app = TestApp::start().await;
    let client = &app.client;
    for host in ["b", "c", "a"] {
        make(client, json!({"url": format!("https://{host}.example.com/")})).await;
    }
    let urls = |hosts: [&str; 3]| hosts.map(|host| format!("https://{host}.example.com/"));
    assert_eq!(client.get(LIST).await.texts("url"), urls(["a", "b", "c"]));
    assert_eq!(client.get(&format!("{LIST}?reverse_order=true")).await.texts("url"), urls(["c", "b", "a"]));
}

/// Labels of the URLs in what a receiver was told of a segment.
async fn labels(receiver: &Receiver) -> Vec<String> {
    receiver.until(|all| !all.is_empty()).await;
    let segment = receiver.all()[0].json["event"]["segments"][0].clone();
    let urls = segment["get_urls"].as_array().cloned().unwrap_or_default();
    urls.iter().map(|url| url["label"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn urls_are_told_as_each_webhook_wants_them() {
    let app = TestApp::with(|config| config.events.allow_private_targets = true, Clock::system()).await;
    let client = &app.client;
    client.make(&video_flow(1, 1)).await;
    client.allocate(1, &["o1"]).await;
    let backend = client.get("/service/storage-backends").await.json[0]["id"].clone();
    let mut receivers = Vec::new();
    for (wish, wanted) in [
        (json!({}), vec!["local", "cdn"]),
        (json!({"accept_get_urls": ["cdn", "other"]}), vec!["cdn"]),
        (json!({"accept_storage_ids": [backend]}), vec!["local"]),
        (json!({"accept_storage_ids": []}), vec!["local", "cdn"]),
        (json!({"accept_storage_ids": [id(9)]}), vec![]),
        (json!({"presigned": true}), vec!["local"]),
        (json!({"presigned": false}), vec!["cdn"]),
        (json!({"presigned": true, "accept_get_urls": ["cdn"]}), vec![]),
    ] {
        let receiver = Receiver::start().await;
        let change = with(json!({"url": receiver.url(), "events": ["flows/segments_added"]}), wish.clone());
        make(client, change).await;
        receivers.push((receiver, wish, wanted));
    }
    let urls = json!([{"url": "https://cdn.example/o1", "label": "cdn"}]);
    let segment = json!({"object_id": "o1", "timerange": "[0:0_1:0)", "get_urls": urls});
    client.post(&format!("/flows/{}/segments", id(1)), &segment).await.expect(201);
    for (receiver, wish, wanted) in receivers {
        assert_eq!(labels(&receiver).await, wanted, "{wish}");
    }
}

#[tokio::test]
async fn membership_counts_as_it_was_at_the_event() {
    let app = TestApp::with(|config| config.events.allow_private_targets = true, Clock::system()).await;
    let client = &app.client;
    client.make(&video_flow(1, 1)).await;
    client.make(&multi_flow(9, 9)).await;
    let receiver = Receiver::start().await;
    let kinds = json!(["flows/updated", "flows/deleted", "sources/deleted"]);
    let filters = json!({"url": receiver.url(), "events": kinds, "flow_collected_by_ids": [id(9)], "source_collected_by_ids": [id(9)]});
    make(client, filters).await;
    let (label, collection) = (format!("/flows/{}/label", id(1)), format!("/flows/{}/flow_collection", id(9)));
    client.put(&label, &json!("before")).await.expect(204);
    client.put(&collection, &json!([{"id": id(1)}])).await.expect(204);
    client.put(&label, &json!("member")).await.expect(204);
    client.put(&collection, &json!([])).await.expect(204);
    client.put(&label, &json!("after")).await.expect(204);
    client.put(&collection, &json!([{"id": id(1)}])).await.expect(204);
    client.delete(&format!("/flows/{}", id(1))).await.expect(204);
    receiver.until(|all| all.iter().any(|event| event.kind() == "sources/deleted")).await;
    let told: Vec<Value> = receiver.all().iter().map(|event| event.json["event"].clone()).collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!(told[0]["flow"]["label"], "member");
    assert_eq!(told[1..], [json!({"flow_id": id(1)}), json!({"source_id": id(1)})]);
}

#[tokio::test]
async fn a_webhook_in_error_can_be_removed() {
    let app = TestApp::with(
        |config| {
            config.events.allow_private_targets = true;
            config.events.first_retry = Span(Duration::from_millis(10));
            config.events.longest_retry = Span(Duration::from_millis(20));
            config.events.give_up_after = Span(Duration::from_millis(50));
        },
        Clock::system(),
    )
    .await;
    let client = &app.client;
    let receiver = Receiver::start().await;
    receiver.answer(500);
    let made = make(client, json!({"url": receiver.url()})).await;
    client.make(&video_flow(1, 1)).await;
    for _ in 0..600 {
        if client.get(&path(&made)).await.json["status"] == "error" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(client.get(&path(&made)).await.json["status"], "error");
    client.delete(&path(&made)).await.expect(204);
    client.get(&path(&made)).await.expect(404);
}
