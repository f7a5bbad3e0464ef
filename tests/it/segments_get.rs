//! Spec: GET_flows-flowId-segments, HEAD_flows-flowId-segments

use serde_json::{Value, json};
use tamslake::clock::Clock;

use crate::helpers::{TestApp, id, segment, video_flow, with};

fn path(flow: u32, query: &str) -> String {
    format!("/flows/{}/segments?{query}", id(flow))
}

async fn with_segments(timeranges: &[&str]) -> TestApp {
    let app = TestApp::start().await;
    app.client.make(&video_flow(1, 7)).await;
    for (number, timerange) in timeranges.iter().enumerate() {
        app.client.register(1, &format!("o{number}"), timerange).await;
    }
    app
}

async fn found(app: &TestApp, query: &str) -> Vec<String> {
    app.client.get(&path(1, query)).await.expect(200).texts("timerange")
}

#[tokio::test]
async fn a_filter_finds_whole_segments_that_it_touches() {
    let app = with_segments(&["[0:0_10:0)", "[10:0_20:0)", "[20:0_30:0)"]).await;
    let (first, second, third) = ("[0:0_10:0)", "[10:0_20:0)", "[20:0_30:0)");
    for (timerange, expected) in [
        ("[9:0_10:0)", vec![first]),
        ("[9:0_10:0]", vec![first, second]),
        ("(9:0_10:0)", vec![first]),
        ("()", vec![]),
        ("_", vec![first, second, third]),
        ("[_]", vec![first, second, third]),
        ("(_)", vec![first, second, third]),
        ("[_)", vec![first, second, third]),
        ("[10:0]", vec![second]),
        ("10:0", vec![second]),
        ("[10:0_10:0]", vec![second]),
        ("[5:0_5:0)", vec![]),
        ("(5:0_5:0]", vec![]),
        ("[2:0_1:0)", vec![]),
        ("[_10:0)", vec![first]),
        ("_10:0)", vec![first]),
        ("_10:0]", vec![first, second]),
        ("[20:0_)", vec![third]),
        ("[20:0_", vec![third]),
        ("(20:0_", vec![third]),
        ("[30:0_", vec![]),
        ("_0:0)", vec![]),
        ("_0:0]", vec![first]),
        ("_-0:0]", vec![first]),
        ("-5:0_25:0", vec![first, second, third]),
        ("[29:999999999_281474976710655:999999999]", vec![third]),
        ("%5B9%3A0_10%3A0%5D", vec![first, second]),
    ] {
        assert_eq!(found(&app, &format!("timerange={timerange}")).await, expected, "{timerange}");
    }
    let negative = with_segments(&["[-2:0_-1:0)", "[-0:5_0:0)"]).await;
    assert_eq!(found(&negative, "timerange=-1:500000000").await, ["[-2:0_-1:0)"]);
}

#[tokio::test]
async fn a_filter_without_meaning_is_refused() {
    let app = with_segments(&["[0:0_10:0)"]).await;
    for bad in [
        "",
        "[",
        "]",
        "[]",
        "(]",
        "[)",
        "(5:0)",
        "[5:0)",
        "(5:0]",
        "01:0",
        "1:01",
        "1.5",
        "1",
        "+1:0",
        "%2B1:0",
        "1:1000000000",
        "1:0-2:0",
        "[1:0-2:0)",
        "1:0__2:0",
        "%201:0",
        "1:0%20",
        "1:0_2:0,3:0",
        "{1:0}",
        "a",
        "[281474976710656:0_",
        "1:0_2:0_3:0",
        "[99999999999999999999999999999999999999999999:0_",
        "[1:0_2:0)%00",
        "%C2%B2:0",
        "[٣:0]",
        "--1:0",
        "1:-1",
    ] {
        let answer = app.client.get(&path(1, &format!("timerange={bad}"))).await;
        assert_eq!(answer.status.as_u16(), 400, "{bad} {answer:?}");
        let detail = &answer.json["message"][0];
        assert_eq!(
            (&detail["type"], &detail["loc"]),
            (&json!("string_pattern_mismatch"), &json!(["query", "timerange"]))
        );
        app.client.head(&path(1, &format!("timerange={bad}"))).await.expect(400);
        app.client.delete(&path(1, &format!("timerange={bad}"))).await.expect(400);
    }
    assert_eq!(found(&app, "").await, ["[0:0_10:0)"]);
}

#[tokio::test]
async fn segments_come_in_the_order_of_the_timeline_or_its_reverse() {
    let app = with_segments(&[
        "[2:0]",
        "[-1:0_-0:5)",
        "[1:0_2:0)",
        "[-2:0_-1:500000000]",
        "(2:0_3:0)",
        "[-0:5_0:0]",
        "[3:0_10:0)",
    ])
    .await;
    let order = ["[-2:0_-1:500000000]", "[-1:0_-0:5)", "[-0:5_0:0]", "[1:0_2:0)", "[2:0]", "(2:0_3:0)", "[3:0_10:0)"];
    assert_eq!(found(&app, "").await, order);
    let reversed: Vec<&str> = order.iter().rev().copied().collect();
    assert_eq!(found(&app, "reverse_order=true").await, reversed);
    for (query, expected) in [("", order.to_vec()), ("&reverse_order=true", reversed)] {
        for limit in 1..=7 {
            let items = app.client.all(&path(1, &format!("limit={limit}{query}"))).await;
            let paged: Vec<&str> = items.iter().map(|item| item["timerange"].as_str().unwrap()).collect();
            assert_eq!(paged, expected, "limit {limit}");
        }
    }
    for (query, reverse_order) in [("", "false"), ("&reverse_order=true", "true"), ("&reverse_order=false", "false")] {
        let answer = app.client.get(&path(1, &format!("timerange=[1:0_2:0]{query}"))).await.expect(200);
        assert_eq!(answer.header("x-paging-timerange"), Some("[1:0_2:0]"));
        assert_eq!(answer.header("x-paging-reverse-order"), Some(reverse_order));
        assert_eq!(answer.header("x-paging-count"), Some("2"));
    }
    app.client.get(&path(1, "reverse_order=maybe")).await.expect(400);
}

#[tokio::test]
async fn the_covered_timerange_is_that_of_the_page() {
    let app = with_segments(&["[0:0_1:0)", "[5:0_6:0)", "[7:0]"]).await;
    for (query, covered) in [
        ("limit=2", "[0:0_6:0)"),
        ("limit=2&reverse_order=true", "[5:0_7:0]"),
        ("limit=1&reverse_order=true", "[7:0]"),
        ("", "[0:0_7:0]"),
    ] {
        assert_eq!(app.client.get(&path(1, query)).await.header("x-paging-timerange"), Some(covered), "{query}");
    }
    assert_eq!(app.client.get(&path(1, "timerange=()")).await.expect(200).header("x-paging-timerange"), None);
}

#[tokio::test]
async fn an_unknown_flow_has_no_segments_and_a_malformed_id_is_not_found() {
    let app = TestApp::start().await;
    let answer = app.client.get(&path(1, "")).await.expect(200);
    assert_eq!((answer.json.clone(), answer.header("x-paging-count")), (json!([]), Some("0")));
    assert_eq!(answer.next_link(), None);
    for malformed in ["not-a-uuid", "00000000-0000-0000-0000-000000000000", "ABCDEF00-0000-4000-8000-000000000001"] {
        app.client.get(&format!("/flows/{malformed}/segments")).await.expect(404);
        app.client.head(&format!("/flows/{malformed}/segments")).await.expect(404);
        app.client.delete(&format!("/flows/{malformed}/segments")).await.expect(404);
        app.client.post(&format!("/flows/{malformed}/segments"), &json!([])).await.expect(404);
    }
    app.client.post(&path(1, ""), &segment("o1", "[0:0_1:0)")).await.expect(404);
    app.client.post(&path(1, ""), &json!([])).await.expect(404);
    app.client.delete(&path(1, "")).await.expect(404);
}

#[tokio::test]
async fn segments_are_found_by_their_media_object() {
    let app = with_segments(&["[0:0_1:0)", "[1:0_2:0)"]).await;
    let again = json!({"object_id": "o0", "timerange": "[8:0_9:0)", "ts_offset": "8:0"});
    app.client.post(&path(1, ""), &again).await.expect(201);
    assert_eq!(found(&app, "object_id=o0").await, ["[0:0_1:0)", "[8:0_9:0)"]);
    assert_eq!(found(&app, "object_id=o0&timerange=[5:0_").await, ["[8:0_9:0)"]);
    let first = app.client.get(&path(1, "object_id=o0&limit=1")).await.expect(200);
    let link = first.next_link().unwrap();
    assert!(link.contains("object_id=o0"), "{link}");
    let rest = app.client.send(app.client.http.get(link)).await.expect(200);
    assert_eq!((rest.texts("timerange"), rest.next_link()), (vec!["[8:0_9:0)".to_owned()], None));
    for unknown in ["object_id=none", "object_id=", "object_id=..", "object_id=%00"] {
        assert_eq!(found(&app, unknown).await, [""; 0], "{unknown}");
    }
}

#[tokio::test]
async fn a_segment_shows_what_it_was_registered_with_and_no_more() {
    let app = TestApp::start().await;
    app.client.make(&video_flow(1, 7)).await;
    let full = json!({
        "object_id": "o1", "timerange": "[3:0_4:0)", "ts_offset": "-2:0", "object_timerange": "[4:0_7:0)",
        "last_duration": "0:40000000", "sample_offset": 1, "sample_count": 25, "key_frame_count": 2, "unheard": 1,
        "get_urls": [{"url": "https://cdn/x.ts", "label": "cdn", "unheard": 1}],
    });
    app.client.post(&path(1, ""), &full).await.expect(201);
    let urls = json!({"get_urls": [{"url": "https://cdn/x.ts", "label": "cdn"}]});
    let mut shown = with(full, urls);
    for hidden in ["unheard", "object_timerange"] {
        shown.as_object_mut().unwrap().remove(hidden);
    }
    assert_eq!(app.client.get(&path(1, "")).await.json, json!([shown]));
    assert_eq!(app.client.get(&path(1, "include_object_timerange=false")).await.json, json!([shown]));
    let with_timerange = with(shown, json!({"object_timerange": "[4:0_7:0)"}));
    assert_eq!(app.client.get(&path(1, "include_object_timerange=true")).await.json, json!([with_timerange]));
    app.client.get(&path(1, "include_object_timerange=1")).await.expect(400);
}

/// A segment with one signed URL of this server and two of others.
async fn with_urls() -> (TestApp, String) {
    let app = TestApp::with(|config| config.media.label = "here".into(), Clock::system()).await;
    app.client.make(&video_flow(1, 7)).await;
    app.client.allocate(1, &["o1"]).await;
    let urls = json!([{"url": "https://cdn/o1", "label": "cdn"}, {"url": "http://tape/o1?a=b", "label": "tape, old"}]);
    let segment = json!({"object_id": "o1", "timerange": "[0:0_1:0)", "get_urls": urls});
    app.client.post(&path(1, ""), &segment).await.expect(201);
    let backends = app.client.get("/service/storage-backends").await.json;
    (app, backends[0]["id"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn url_filters_all_have_to_hold_and_never_hide_the_segment_or_the_object() {
    let (app, backend) = with_urls().await;
    for (query, labels) in [
        (String::new(), vec!["here", "cdn", "tape, old"]),
        ("accept_get_urls=here".into(), vec!["here"]),
        ("accept_get_urls=cdn,here".into(), vec!["here", "cdn"]),
        ("accept_get_urls=cdn%2Chere".into(), vec!["here", "cdn"]),
        ("accept_get_urls=tape%252C%20old".into(), vec!["tape, old"]),
        ("accept_get_urls=".into(), vec![]),
        ("accept_get_urls=nope".into(), vec![]),
        ("accept_get_urls=HERE".into(), vec![]),
        ("accept_storage_ids=".into(), vec!["here", "cdn", "tape, old"]),
        (format!("accept_storage_ids={backend}"), vec!["here"]),
        (format!("accept_storage_ids={},{backend}", id(5)), vec!["here"]),
        (format!("accept_storage_ids={}", id(5)), vec![]),
        (format!("accept_storage_ids={backend}&accept_get_urls=cdn"), vec![]),
        (format!("accept_storage_ids={backend}&verbose_storage=false"), vec!["here"]),
        ("presigned=true".into(), vec!["here"]),
        ("presigned=false".into(), vec!["cdn", "tape, old"]),
        ("presigned=false&accept_get_urls=here".into(), vec![]),
        ("storage_backend_tag.tier=hot".into(), vec![]),
        ("storage_backend_tag_exists.tier=true".into(), vec![]),
        ("storage_backend_tag_exists.tier=false".into(), vec!["here", "cdn", "tape, old"]),
        ("storage_backend_tag_exists.tier=false&presigned=true".into(), vec!["here"]),
    ] {
        let segments = app.client.get(&path(1, &query)).await.expect(200).json;
        let object = app.client.get(&format!("/objects/o1?{query}")).await.expect(200).json;
        assert_eq!(segments[0]["object_id"], "o1", "{query}");
        for found in [&segments[0], &object] {
            let urls: Vec<&Value> = found.get("get_urls").and_then(Value::as_array).into_iter().flatten().collect();
            let found: Vec<&str> = urls.iter().map(|url| url["label"].as_str().unwrap()).collect();
            assert_eq!(found, labels, "{query}");
        }
    }
    for bad in [
        "accept_get_urls=a,,b",
        "accept_get_urls=a,",
        "accept_get_urls=,",
        "accept_storage_ids=x",
        "accept_storage_ids=,",
        "presigned=abc",
        "verbose_storage=2",
        "storage_backend_tag.x=a,,b",
        "storage_backend_tag_exists.x=maybe",
    ] {
        app.client.get(&path(1, bad)).await.expect(400);
        app.client.get(&format!("/objects/o1?{bad}")).await.expect(400);
        app.client.head(&format!("/objects/o1?{bad}")).await.expect(400);
    }
}

#[tokio::test]
async fn only_who_asks_learns_about_storage() {
    let (app, backend) = with_urls().await;
    let keys = |entry: &Value| {
        let mut keys: Vec<String> = entry.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        keys
    };
    for query in ["", "verbose_storage=false"] {
        let urls = app.client.get(&path(1, query)).await.json[0]["get_urls"].clone();
        assert_eq!(keys(&urls[0]), ["label", "presigned", "url"]);
        assert_eq!((&urls[0]["presigned"], &urls[0]["label"]), (&json!(true), &json!("here")));
        assert_eq!(urls[1], json!({"url": "https://cdn/o1", "label": "cdn"}));
    }
    for urls in [
        app.client.get(&path(1, "verbose_storage=true")).await.json[0]["get_urls"].clone(),
        app.client.get("/objects/o1?verbose_storage=true").await.json["get_urls"].clone(),
    ] {
        let expected =
            ["controlled", "label", "presigned", "provider", "storage_id", "store_product", "store_type", "url"];
        assert_eq!(keys(&urls[0]), expected);
        assert_eq!((&urls[0]["controlled"], &urls[0]["storage_id"]), (&json!(true), &json!(backend)));
        assert_eq!(urls[1], json!({"url": "https://cdn/o1", "label": "cdn", "controlled": false}));
        assert_eq!(urls[2], json!({"url": "http://tape/o1?a=b", "label": "tape, old", "controlled": false}));
    }
}
