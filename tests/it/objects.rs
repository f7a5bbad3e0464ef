//! Spec: GET_objects, HEAD_objects

use serde_json::{Value, json};

use crate::helpers::{TestApp, id, object_path, segment, video_flow, with};

/// Flows 1 to 3 use `o1`, Flow 2 twice.
async fn used_by_three() -> TestApp {
    let app = TestApp::start().await;
    let client = &app.client;
    for (flow, tags) in [(1, json!({"genre": "news"})), (2, json!({"genre": ["sport", "news"]})), (3, json!({}))] {
        client.make(&with(video_flow(flow, 7), json!({"tags": tags}))).await;
        let path = format!("/flows/{}/segments", id(flow));
        client.post(&path, &segment("o1", "[0:0_1:0)")).await.expect(201);
    }
    let again = json!({"object_id": "o1", "timerange": "[9:0_10:0)", "ts_offset": "9:0"});
    client.post(&format!("/flows/{}/segments", id(2)), &again).await.expect(201);
    app
}

#[tokio::test]
async fn an_object_shows_its_own_timerange_and_nothing_unheard_of() {
    let app = TestApp::start().await;
    let client = &app.client;
    client.make(&video_flow(1, 7)).await;
    let shifted = with(segment("o1", "[3:0_4:0)"), json!({"ts_offset": "-2:0", "key_frame_count": 0}));
    client.post(&format!("/flows/{}/segments", id(1)), &shifted).await.expect(201);
    assert_eq!(
        client.get("/objects/o1").await.expect(200).json,
        json!({
            "id": "o1", "referenced_by_flows": [id(1)], "first_referenced_by_flow": id(1), "timerange": "[5:0_6:0)",
            "key_frame_count": 0, "get_urls": [{"url": "https://media.example/o1", "label": "cdn"}],
        })
    );
    let segments = client.get(&format!("/flows/{}/segments?include_object_timerange=true", id(1))).await.json;
    assert_eq!((&segments[0]["timerange"], &segments[0]["ts_offset"]), (&json!("[3:0_4:0)"), &json!("-2:0")));
    assert_eq!(segments[0]["object_timerange"], "[5:0_6:0)");
}

#[tokio::test]
async fn pages_of_an_object_are_pages_of_its_flows() {
    let app = used_by_three().await;
    let client = &app.client;
    let whole = client.get("/objects/o1").await.expect(200);
    assert_eq!(whole.json["referenced_by_flows"], json!([id(1), id(2), id(3)]), "each once");
    assert_eq!(whole.next_link(), None);
    let mut next = Some(client.url("/objects/o1?limit=1&accept_get_urls=cdn"));
    let mut flows = Vec::new();
    while let Some(url) = next {
        let page = client.send(client.http.get(url)).await.expect(200);
        assert_eq!(page.header("x-paging-limit"), Some("1"));
        let mut rest = page.json.clone();
        flows.extend(rest["referenced_by_flows"].as_array().unwrap().clone());
        rest["referenced_by_flows"] = whole.json["referenced_by_flows"].clone();
        assert_eq!(rest, whole.json, "all else is on each page");
        next = page.next_link();
        assert_eq!(next.is_some(), page.header("x-paging-nextkey").is_some());
    }
    assert_eq!(Value::from(flows), whole.json["referenced_by_flows"]);
    for bad in ["limit=0", "limit=x", "page=x", "page="] {
        client.get(&format!("/objects/o1?{bad}")).await.expect(400);
    }
}

#[tokio::test]
async fn flow_tags_choose_flows_before_pages_are_cut() {
    let app = used_by_three().await;
    for (query, flows) in [
        ("flow_tag.genre=news", vec![1, 2]),
        ("flow_tag.genre=drama", vec![]),
        ("flow_tag.genre=sport,drama", vec![2]),
        ("flow_tag_exists.genre=false", vec![3]),
        ("flow_tag_exists.genre=true&flow_tag.genre=sport", vec![2]),
        ("tag.genre=drama", vec![1, 2, 3]),
        ("flow_tag.genre=sport&limit=1", vec![2]),
    ] {
        let answer = app.client.get(&format!("/objects/o1?{query}")).await.expect(200);
        let flows: Vec<String> = flows.into_iter().map(id).collect();
        assert_eq!(answer.json["referenced_by_flows"], json!(flows), "{query}");
        assert_eq!(answer.json["first_referenced_by_flow"], id(1), "{query}");
        assert_eq!(answer.next_link(), None, "{query}");
    }
    for bad in ["flow_tag.genre=a,,b", "flow_tag_exists.genre=maybe"] {
        app.client.get(&format!("/objects/o1?{bad}")).await.expect(400);
    }
}

#[tokio::test]
async fn any_text_can_be_an_object_id() {
    let app = TestApp::start().await;
    let client = &app.client;
    client.make(&video_flow(1, 7)).await;
    let names = [
        "a/b",
        "a%2Fb",
        "../../etc/passwd",
        "a b",
        "a+b",
        "日本\u{1F3AC}",
        "?x=1",
        "#f",
        "%",
        "a//b",
        "/",
        "...",
        "a\\b",
        "\u{202E}x",
    ];
    for (number, name) in names.iter().enumerate() {
        let request = json!({"object_id": name, "timerange": format!("[{number}:0]"), "get_urls": [{"url": "https://x/y", "label": "x"}]});
        client.post(&format!("/flows/{}/segments", id(1)), &request).await.expect(201);
    }
    for (number, name) in names.iter().enumerate() {
        let object = client.get(&object_path(name)).await.expect(200).json;
        assert_eq!((&object["id"], &object["timerange"]), (&json!(name), &json!(format!("[{number}:0]"))), "{name}");
        client.head(&object_path(name)).await.expect(200);
        let query = object_path(name).replace("/objects/", &format!("/flows/{}/segments?object_id=", id(1)));
        assert_eq!(client.get(&query).await.expect(200).texts("object_id"), [*name]);
    }
    client.get("/objects/a/b").await.expect(404);
}

#[tokio::test]
async fn an_object_can_only_be_read() {
    let app = used_by_three().await;
    let client = &app.client;
    client.get("/objects/none").await.expect(404);
    client.head("/objects/none").await.expect(404);
    for answer in [
        client.put("/objects/o1", &json!({})).await,
        client.post("/objects/o1", &json!({})).await,
        client.delete("/objects/o1").await,
    ] {
        assert_eq!(answer.expect(405).header("allow"), Some("GET, HEAD, OPTIONS"));
    }
    client.get("/objects").await.expect(404);
    client.get("/objects/").await.expect(404);
}
