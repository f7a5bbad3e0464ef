//! Deletions that go on after their answer.
//! Spec: GET_flow-delete-requests, GET_flow-delete-requests-request-id, HEAD_flow-delete-requests,
//! HEAD_flow-delete-requests-request-id; asked for by DELETE_flows-flowId and DELETE_flows-flowId-segments

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tamslake::clock::Clock;

use crate::helpers::{Client, Process, Sse, TestApp, id, segment, video_flow};

/// Segments of a second each, enough to see a deletion at work that takes one a commit.
const MANY: usize = 3_000;

fn segments(flow: u32) -> String {
    format!("/flows/{}/segments", id(flow))
}

fn flow(number: u32) -> String {
    format!("/flows/{}", id(number))
}

fn second(at: usize) -> String {
    format!("[{at}:0_{}:0)", at + 1)
}

async fn fill(client: &Client, number: u32, count: usize) {
    client.make(&video_flow(number, 100 + number)).await;
    for from in (0..count).step_by(1_000) {
        let seconds = from..count.min(from + 1_000);
        let list: Vec<Value> = seconds.map(|at| segment(&format!("f{number}-{at}"), &second(at))).collect();
        client.post(&segments(number), &json!(list)).await.expect(201);
    }
}

/// A server that deletes so many segments in one commit.
async fn app(at_once: usize) -> TestApp {
    TestApp::with(|config| config.catalog.max_delete_segments = at_once, Clock::system()).await
}

async fn done(client: &Client, request: &str) -> Value {
    for _ in 0..20_000 {
        let now = client.get(request).await.expect(200).json;
        if now["status"] == "done" {
            return now;
        }
        assert!(["created", "started"].contains(&now["status"].as_str().unwrap()), "{now:#}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{request} is never done");
}

/// The path under which the `Location` of a 202 leads to the request.
fn location(client: &Client, answer: &crate::helpers::Answer) -> String {
    let location = answer.header("location").unwrap();
    let path = location.strip_prefix(&client.base).unwrap().to_owned();
    assert_eq!(path, format!("/flow-delete-requests/{}", answer.json["id"].as_str().unwrap()));
    path
}

#[tokio::test]
async fn what_one_commit_can_delete_is_deleted_when_it_is_answered() {
    let app = app(10).await;
    let client = &app.client;
    fill(client, 1, 30).await;
    client.delete(&format!("{}?timerange=[0:0_10:0)", segments(1))).await.expect(204);
    assert_eq!(client.get(&segments(1)).await.json.as_array().unwrap().len(), 20);
    let answer = client.delete(&format!("{}?timerange=[10:0_21:0)", segments(1))).await.expect(202);
    assert_eq!(
        (&answer.json["timerange_to_delete"], &answer.json["delete_flow"], &answer.json["flow_id"]),
        (&json!("[10:0_21:0)"), &json!(false), &json!(id(1)))
    );
    let now = done(client, &location(client, &answer)).await;
    assert_eq!(now["timerange_remaining"], "()");
    for key in ["created", "updated", "expiry"] {
        assert!(now[key].is_string(), "{key}");
    }
    client.delete(&flow(1)).await.expect(204);
    client.get(&flow(1)).await.expect(404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segments_are_gone_for_readers_before_the_answer() {
    let app = app(1).await;
    let client = &app.client;
    fill(client, 1, MANY).await;
    let middle = format!("{}?timerange=[10:0_{}:500000000)", segments(1), MANY - 10);
    let answer = client.delete(&middle).await.expect(202);
    let request = location(client, &answer);
    assert_eq!(answer.json["timerange_remaining"], format!("[10:0_{}:0)", MANY - 10));
    let left: Vec<String> = (0..10).chain(MANY - 10..MANY).map(second).collect();
    let seen = client.get(&format!("{}?limit=1000", segments(1))).await;
    assert_eq!(seen.texts("timerange"), left);
    let running = client.get(&request).await.json;
    assert_ne!(running["status"], "done", "or the test has nothing to see: make MANY larger");

    let backwards: Vec<String> =
        client.all(&format!("{}?limit=7&reverse_order=true", segments(1))).await.iter().map(text).collect();
    assert_eq!(backwards, left.iter().rev().cloned().collect::<Vec<_>>());
    assert_eq!(client.get(&format!("{}?timerange=[50:0_60:0)", segments(1))).await.json, json!([]));
    let view = client.get(&format!("{}?include_timerange=true&timerange=[5:0_60:0)", flow(1))).await.json;
    assert_eq!(view["timerange"], "[5:0_10:0)");
    assert_eq!(client.get("/flows?timerange=[50:0_60:0)").await.texts("id"), [id(1)], "its extent goes over the gap");

    // Where it deletes nobody registers; beside it they do.
    let refused = client.post(&segments(1), &segment("new", &second(MANY - 11))).await.expect(400);
    assert_eq!(refused.error_type(), "deletion_running");
    client.post(&segments(1), &segment("beside", &second(MANY))).await.expect(201);
    let list = json!([segment("a", &second(MANY - 12)), segment("b", &second(MANY + 1))]);
    let failed = client.post(&segments(1), &list).await.expect(200).json;
    assert_eq!(failed["failed_segments"][0]["object_id"], "a");
    // Again is no mistake: nothing, or another request.
    let again = client.delete(&middle).await;
    assert!([202, 204].contains(&again.status.as_u16()));

    done(client, &request).await;
    if again.status == 202 {
        done(client, &location(client, &again)).await;
    }
    let seen = client.get(&format!("{}?limit=1000", segments(1))).await.texts("timerange");
    assert_eq!(seen, [left, vec![second(MANY), second(MANY + 1)]].concat());
    client.post(&segments(1), &segment("new", &second(MANY - 11))).await.expect(201);
    client.get("/objects/f1-500").await.expect(404);
    client.get("/objects/f1-5").await.expect(200);
}

fn text(segment: &Value) -> String {
    segment["timerange"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flow_is_gone_at_once_and_its_id_is_free_when_all_is_gone() {
    let app = app(1).await;
    let client = &app.client;
    fill(client, 1, MANY).await;
    client.make(&video_flow(2, 102)).await;
    client.post(&segments(2), &json!({"object_id": "f1-7", "timerange": second(7)})).await.expect(201);
    let collector = json!({"id": id(3), "source_id": id(103), "format": "urn:x-nmos:format:multi", "flow_collection": [{"id": id(1)}]});
    client.make(&collector).await;
    let answer = client.delete(&flow(1)).await.expect(202);
    let request = location(client, &answer);
    assert_eq!(
        (&answer.json["timerange_to_delete"], &answer.json["delete_flow"], &answer.json["status"]),
        (&json!("_"), &json!(true), &json!("created"))
    );
    client.get(&flow(1)).await.expect(404);
    client.delete(&flow(1)).await.expect(404);
    client.put(&format!("{}/label", flow(1)), &json!("x")).await.expect(404);
    client.post(&segments(1), &segment("new", &second(MANY + 5))).await.expect(404);
    client.get(&format!("/sources/{}", id(101))).await.expect(404);
    assert_eq!(client.get("/flows").await.texts("id"), [id(3), id(2)]);
    assert_eq!(client.get(&segments(1)).await.json, json!([]));
    assert!(client.get(&flow(3)).await.json.get("flow_collection").is_none());
    client.get(&format!("/objects/f1-{}", MANY - 1)).await.expect(404);
    assert_eq!(client.get("/objects/f1-7").await.expect(200).json["referenced_by_flows"], json!([id(2)]));
    let taken = client.put(&flow(1), &video_flow(1, 101)).await;
    assert_ne!(client.get(&request).await.json["status"], "done", "or the test has nothing to see: make MANY larger");
    assert_eq!((taken.status.as_u16(), taken.error_type()), (400, "flow_being_deleted"));

    let now = done(client, &request).await;
    assert_eq!((&now["timerange_remaining"], &now["delete_flow"]), (&json!("()"), &json!(true)));
    client.get(&flow(1)).await.expect(404);
    client.make(&video_flow(1, 101)).await;
    assert_eq!(client.get(&segments(1)).await.json, json!([]));
    client.get("/objects/f1-7").await.expect(200);
}

#[tokio::test]
async fn the_segments_of_one_object_go_in_stretches_too() {
    let app = app(3).await;
    let client = &app.client;
    client.make(&video_flow(1, 7)).await;
    let used = |object: &str, at: usize, first: usize| json!({"object_id": object, "timerange": second(at), "ts_offset": format!("{}:0", at - first)});
    for (first, object) in ["even", "odd"].into_iter().enumerate() {
        client.post(&segments(1), &segment(object, &second(first))).await.expect(201);
        let list: Vec<Value> = (1..20).map(|n| used(object, 2 * n + first, first)).collect();
        client.post(&segments(1), &json!(list)).await.expect(201);
    }
    let answer = client.delete(&format!("{}?object_id=even", segments(1))).await.expect(202);
    assert!(client.get(&segments(1)).await.texts("object_id").iter().all(|object| object == "odd"));
    done(client, &location(client, &answer)).await;
    assert_eq!(client.get(&segments(1)).await.json.as_array().unwrap().len(), 20);
    client.get("/objects/even").await.expect(404);
    client.post(&segments(1), &used("odd", 2, 1)).await.expect(201);
    client.delete(&format!("{}?object_id=odd&timerange=[0:0_5:0)", segments(1))).await.expect(204);
}

#[tokio::test]
async fn read_only_flows_and_unknown_ones_get_no_request() {
    let app = app(1).await;
    let client = &app.client;
    fill(client, 1, 5).await;
    client.put(&format!("{}/read_only", flow(1)), &json!(true)).await.expect(204);
    client.delete(&flow(1)).await.expect(403);
    client.delete(&segments(1)).await.expect(403);
    client.delete(&flow(9)).await.expect(404);
    client.delete(&segments(9)).await.expect(404);
    assert_eq!(client.get("/flow-delete-requests").await.expect(200).json, json!([]));
    for unknown in [id(9), "x".into()] {
        let path = format!("/flow-delete-requests/{unknown}");
        client.get(&path).await.expect(404);
        client.head(&path).await.expect(404);
        for method in [Method::PUT, Method::POST, Method::DELETE] {
            client.raw(method, &path, Some("application/json"), "{}").await.expect(405);
        }
    }
}

#[tokio::test]
async fn requests_are_listed_in_order_and_forgotten_a_day_after_they_are_done() {
    let clock = Clock::manual("2026-11-24T09:00:00Z".parse().unwrap(), 7);
    let app = TestApp::with(|config| config.catalog.max_delete_segments = 1, clock.clone()).await;
    let client = &app.client;
    let mut requests = Vec::new();
    for number in 1..=3 {
        fill(client, number, 4).await;
        let answer = client.delete(&flow(number)).await.expect(202);
        done(client, &location(client, &answer)).await;
        requests.push(answer.json["id"].as_str().unwrap().to_owned());
        clock.advance(Duration::from_secs(60));
    }
    let newest_first: Vec<String> = requests.iter().rev().cloned().collect();
    for (query, wanted) in [
        ("", &newest_first),
        ("?reverse_order=true", &requests),
        ("?sort_by=created", &newest_first),
        ("?sort_by=expiry", &newest_first),
        ("?sort_by=expiry&reverse_order=true", &requests),
    ] {
        assert_eq!(&client.get(&format!("/flow-delete-requests{query}")).await.expect(200).texts("id"), wanted);
        let join = if query.is_empty() { '?' } else { '&' };
        let paged = client.all(&format!("/flow-delete-requests{query}{join}limit=1")).await;
        let paged: Vec<&str> = paged.iter().map(|request| request["id"].as_str().unwrap()).collect();
        assert_eq!(&paged, wanted, "{query}");
    }
    let head = client.head("/flow-delete-requests?limit=2").await.expect(200);
    assert_eq!(head.header("x-paging-count"), Some("2"));
    assert!(head.next_link().is_some());
    client.get("/flow-delete-requests?sort_by=updated").await.expect(400);
    client.get("/flow-delete-requests?limit=0").await.expect(400);

    clock.advance(Duration::from_secs(24 * 60 * 60 - 150));
    assert_eq!(client.get("/flow-delete-requests").await.texts("id"), newest_first[..2]);
    client.get(&format!("/flow-delete-requests/{}", requests[0])).await.expect(404);
    client.get(&format!("/flow-delete-requests/{}", requests[1])).await.expect(200);
}

#[tokio::test]
async fn events_tell_each_deleted_stretch_once_and_a_flow_as_a_whole() {
    let app = app(5).await;
    let client = &app.client;
    fill(client, 1, 20).await;
    let mut stream = Sse::open(client, "events=flows/segments_deleted,flows/deleted", None).await;
    let answer = client.delete(&format!("{}?timerange=[2:500000000_14:0)", segments(1))).await.expect(202);
    done(client, &location(client, &answer)).await;
    let mut ranges = Vec::new();
    for _ in 0..3 {
        let told = stream.next().await.unwrap();
        assert_eq!((told.kind.as_str(), &told.json["event"]["flow_id"]), ("flows/segments_deleted", &json!(id(1))));
        ranges.push(told.json["event"]["timerange"].as_str().unwrap().to_owned());
    }
    assert_eq!(ranges, ["[3:0_8:0)", "[8:0_13:0)", "[13:0_14:0)"]);

    let answer = client.delete(&flow(1)).await.expect(202);
    done(client, &location(client, &answer)).await;
    fill(client, 2, 1).await;
    client.delete(&flow(2)).await.expect(204);
    let told = stream.until(|told| told.kind == "flows/deleted" && told.json["event"]["flow_id"] == id(2)).await;
    let told: Vec<_> = told.iter().map(|told| (told.kind.as_str(), told.json["event"]["timerange"].as_str())).collect();
    assert_eq!(
        told,
        [
            ("flows/segments_deleted", Some("[0:0_20:0)")),
            ("flows/deleted", None),
            ("flows/segments_deleted", Some("[0:0_1:0)")),
            ("flows/deleted", None),
        ]
    );
}

/// Files below a folder.
fn files(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_goes_on_after_every_kill_and_takes_nothing_else() {
    const COUNT: usize = 400;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let start = || Process::start_with(&data, &[("TAMSLAKE__CATALOG__MAX_DELETE_SEGMENTS", "1")]).unwrap();
    let mut server = start();
    let client = server.client.clone();
    client.make(&video_flow(1, 7)).await;
    let ids: Vec<String> = (0..COUNT).map(|at| format!("o{at}")).collect();
    let texts: Vec<&str> = ids.iter().map(String::as_str).collect();
    for url in client.allocate(1, &texts).await {
        client.http.put(&url).body("bytes").send().await.unwrap().error_for_status().unwrap();
    }
    let list: Vec<Value> = (0..COUNT).map(|at| json!({"object_id": ids[at], "timerange": second(at)})).collect();
    client.post(&segments(1), &json!(list)).await.expect(201);
    let objects = data.join("media/objects");
    assert_eq!(files(&objects), COUNT);

    let answer = client.delete(&format!("{}?timerange=[20:0_380:0)", segments(1))).await.expect(202);
    let request = location(&client, &answer);
    let left: BTreeSet<String> = (0..20).chain(380..COUNT).map(second).collect();
    let mut seen = BTreeSet::new();
    for round in 0..4 {
        let client = server.client.clone();
        let before = client.get(&request).await.expect(200).json;
        // A moment is a change of what is left, so that a slow machine has the same moments.
        while client.get(&request).await.expect(200).json["timerange_remaining"] == before["timerange_remaining"] {
            if before["status"] == "done" {
                break;
            }
        }
        server.kill();
        server = start();
        let client = &server.client;
        let now = client.get(&request).await.expect(200).json;
        seen.insert(now["timerange_remaining"].to_string());
        let found: BTreeSet<String> =
            client.all(&format!("{}?limit=1000", segments(1))).await.iter().map(text).collect();
        assert_eq!(found, left, "round {round}");
    }
    assert!(seen.len() > 1, "it was killed at work: {seen:?}");
    let client = &server.client;
    let now = done(client, &request).await;
    assert_eq!(now["timerange_remaining"], "()");
    for _ in 0..3_000 {
        if files(&objects) == left.len() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(files(&objects), left.len());
    for at in [0, 19, 380, 399] {
        let object = client.get(&format!("/objects/o{at}")).await.expect(200).json;
        let bytes = client.http.get(object["get_urls"][0]["url"].as_str().unwrap()).send().await.unwrap();
        assert_eq!(bytes.text().await.unwrap(), "bytes");
    }
    client.get("/objects/o200").await.expect(404);
    client.post(&segments(1), &segment("new", &second(200))).await.expect(201);
}
