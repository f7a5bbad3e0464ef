//! Requirements of `tests/matrix.csv` for instances of objects.
//! Spec: POST_objects-instances, DELETE_objects-instances

use serde_json::{Value, json};

use crate::helpers::{Client, TestApp, id, video_flow};

/// Object `o1` on the server's own store and at `cdn`.
async fn with_object() -> (TestApp, String) {
    let app = TestApp::start().await;
    let client = &app.client;
    client.make(&video_flow(1, 7)).await;
    client.make(&video_flow(2, 7)).await;
    let url = client.allocate(1, &["o1", "waiting"]).await;
    client.http.put(&url[0]).body("bytes").send().await.unwrap().error_for_status().unwrap();
    let segment = json!({"object_id": "o1", "timerange": "[0:0_1:0)"});
    for flow in [1, 2] {
        client.post(&format!("/flows/{}/segments", id(flow)), &segment).await.expect(201);
    }
    let backend = client.get("/service/storage-backends").await.json[0]["id"].as_str().unwrap().to_owned();
    (app, backend)
}

const PATH: &str = "/objects/o1/instances";

async fn labels(client: &Client) -> Vec<String> {
    let object = client.get("/objects/o1?verbose_storage=true").await.expect(200).json;
    object["get_urls"].as_array().unwrap().iter().map(|url| url["label"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn an_url_elsewhere_is_added_and_removed_by_its_label() {
    let (app, backend) = with_object().await;
    let client = &app.client;
    let before = client.everything().await;
    for bad in [
        json!({}),
        json!([]),
        json!(null),
        json!({"url": "https://cdn/o1"}),
        json!({"label": "cdn"}),
        json!({"url": "https://cdn/o1", "label": "local"}),
        json!({"url": "https://cdn/o1", "label": "cdn", "storage_id": backend}),
        json!({"url": 5, "label": "cdn"}),
        json!({"url": "javascript:x", "label": "cdn"}),
        json!({"storage_id": id(9)}),
        json!({"storage_id": "x"}),
        json!({"storage_id": backend}),
    ] {
        let answer = client.post(PATH, &bad).await;
        assert_eq!(answer.status.as_u16(), 400, "{bad} {answer:?}");
    }
    assert_eq!(client.everything().await, before);
    let cdn = json!({"url": "https://cdn.example/o1", "label": "cdn"});
    client.post(PATH, &cdn).await.expect(201);
    client.post(PATH, &cdn).await.expect(400);
    assert_eq!(labels(client).await, ["local", "cdn"]);
    let urls = client.get("/objects/o1?verbose_storage=true").await.json["get_urls"].clone();
    let entry = urls.as_array().unwrap().iter().find(|url| url["label"] == "cdn").unwrap();
    assert_eq!(entry, &json!({"url": "https://cdn.example/o1", "label": "cdn", "controlled": false}));
    for flow in [1, 2] {
        let segments = client.get(&format!("/flows/{}/segments?accept_get_urls=cdn", id(flow))).await.expect(200).json;
        assert_eq!(segments[0]["get_urls"][0]["url"], "https://cdn.example/o1", "in every Flow");
    }
    client.delete(&format!("{PATH}?label=cdn")).await.expect(204);
    assert_eq!(labels(client).await, ["local"]);
    client.delete(&format!("{PATH}?label=cdn")).await.expect(404);
    client.delete(&format!("{PATH}?storage_id={}", id(9))).await.expect(404);
    for bad in ["", "?", &format!("?label=local&storage_id={backend}")] {
        client.delete(&format!("{PATH}{bad}")).await.expect(400);
    }
}

#[tokio::test]
async fn an_instance_goes_for_all_flows_but_never_the_last_one() {
    let (app, backend) = with_object().await;
    let client = &app.client;
    client.delete(&format!("{PATH}?storage_id={backend}")).await.expect(400);
    client.post(PATH, &json!({"url": "https://cdn.example/o1", "label": "cdn"})).await.expect(201);
    let bytes = client.get("/objects/o1").await.json["get_urls"][0]["url"].as_str().unwrap().to_owned();
    client.delete(&format!("{PATH}?storage_id={backend}")).await.expect(204);
    assert_eq!(labels(client).await, ["cdn"]);
    assert_eq!(client.http.get(bytes).send().await.unwrap().status(), 404);
    for flow in [1, 2] {
        let segments = client.get(&format!("/flows/{}/segments", id(flow))).await.json;
        assert_eq!(segments[0]["get_urls"], json!([{"url": "https://cdn.example/o1", "label": "cdn"}]));
    }
    client.delete(&format!("{PATH}?label=cdn")).await.expect(400);
}

#[tokio::test]
async fn instances_belong_to_objects_that_are_registered() {
    let (app, _) = with_object().await;
    let client = &app.client;
    let cdn = json!({"url": "https://cdn.example/o1", "label": "cdn"});
    for unknown in ["/objects/none/instances", "/objects/waiting/instances"] {
        client.post(unknown, &cdn).await.expect(404);
        client.delete(&format!("{unknown}?label=cdn")).await.expect(404);
    }
    for answer in [client.get(PATH).await, client.put(PATH, &cdn).await, client.head(PATH).await] {
        assert_eq!(answer.expect(405).header("allow").map(|allow| allow.contains("POST")), Some(true));
    }
}

#[tokio::test]
async fn an_init_object_has_instances_of_its_own() {
    let app = TestApp::start().await;
    let client = &app.client;
    let mut flow = video_flow(1, 7);
    flow["essence_parameters"]["init_segments"] = json!(true);
    client.make(&flow).await;
    client.allocate(1, &["o1", "i1"]).await;
    let segment = json!({"object_id": "o1", "init_object_id": "i1", "timerange": "[0:0_1:0)"});
    client.post(&format!("/flows/{}/segments", id(1)), &segment).await.expect(201);
    let count = |object: &Value| object["get_urls"].as_array().unwrap().len();
    client.post(PATH, &json!({"url": "https://cdn.example/o1", "label": "cdn"})).await.expect(201);
    let object = client.get("/objects/o1").await.json;
    assert_eq!((count(&object), count(&object["init_object"])), (2, 1), "not copied along");
    client.post("/objects/i1/instances", &json!({"url": "https://cdn.example/i1", "label": "cdn"})).await.expect(201);
    let object = client.get("/objects/o1").await.json;
    assert_eq!((count(&object), count(&object["init_object"])), (2, 2));
    client.delete(&format!("{PATH}?label=cdn")).await.expect(204);
    let object = client.get("/objects/o1").await.json;
    assert_eq!((count(&object), count(&object["init_object"])), (1, 2), "untouched");
    client.delete("/objects/i1/instances?label=cdn").await.expect(204);
    assert_eq!(count(&client.get("/objects/i1").await.json), 1);
    // Filters of URLs reach it from both sides.
    for (query, left) in [("", 1), ("accept_get_urls=", 0), ("presigned=false", 0), ("presigned=true", 1)] {
        let object = client.get(&format!("/objects/o1?{query}")).await.json;
        for of in [&object, &object["init_object"]] {
            assert_eq!(of["get_urls"].as_array().map_or(0, Vec::len), left, "{query}");
        }
    }
}
