//! Spec: POST_flows-flowId-storage

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::helpers::{TestApp, id, video_flow};

fn path(flow: u32) -> String {
    format!("/flows/{}/storage", id(flow))
}

async fn with_flow() -> TestApp {
    let app = TestApp::start().await;
    app.client.make(&video_flow(1, 7)).await;
    app
}

#[tokio::test]
async fn storage_comes_with_an_upload_url_for_each_object() {
    let app = with_flow().await;
    let answer = app.client.post(&path(1), &json!({"limit": 3})).await.expect(201);
    assert_eq!(answer.json.as_object().unwrap().keys().collect::<Vec<_>>(), ["media_objects"]);
    let objects = answer.json["media_objects"].as_array().unwrap();
    let ids: BTreeSet<&str> = objects.iter().map(|object| object["object_id"].as_str().unwrap()).collect();
    assert_eq!((objects.len(), ids.len()), (3, 3));
    for object in objects {
        assert!(object["put_url"]["url"].as_str().unwrap().starts_with(&app.client.base), "{object}");
        assert_eq!((&object["put_url"]["content-type"], &object["presigned"]), (&json!("video/mp2t"), &json!(true)));
        app.client.get(&format!("/objects/{}", object["object_id"].as_str().unwrap())).await.expect(404);
    }
    assert_eq!(app.client.get("/flows").await.json[0].get("segments_updated"), None);
}

#[tokio::test]
async fn the_body_may_be_left_out_or_empty() {
    let app = with_flow().await;
    let client = &app.client;
    let count = |answer: Value| answer["media_objects"].as_array().unwrap().len();
    assert!(count(client.send(client.http.post(client.url(&path(1)))).await.expect(201).json) >= 1);
    let json = Some("application/json");
    assert!(count(client.raw(reqwest::Method::POST, &path(1), json, "").await.expect(201).json) >= 1);
    assert!(count(client.post(&path(1), &json!({})).await.expect(201).json) >= 1);
    assert_eq!(count(client.post(&path(1), &json!({"limit": 1_000_000})).await.expect(201).json), 1000);
}

#[tokio::test]
async fn ids_are_given_in_order_and_all_or_none() {
    let app = with_flow().await;
    let client = &app.client;
    let names = ["o1", "a/b", "../x", "sp ace", "日本\u{1F3AC}", "%2e%2e"];
    let answer = client.post(&path(1), &json!({"object_ids": names})).await.expect(201);
    let given: Vec<&str> =
        answer.json["media_objects"].as_array().unwrap().iter().map(|o| o["object_id"].as_str().unwrap()).collect();
    assert_eq!(given, names);
    let refused = client.post(&path(1), &json!({"object_ids": ["o1", "o9"]})).await.expect(400);
    assert!(refused.json["message"].as_str().unwrap().contains("already exist: o1"), "{refused:?}");
    client.register(1, "external", "[0:0_1:0)").await;
    client.post(&path(1), &json!({"object_ids": ["o8", "external"]})).await.expect(400);
    client.post(&path(1), &json!({"object_ids": ["o8", "o8"]})).await.expect(400);
    // None of the others was handed out.
    client.allocate(1, &["o8", "o9"]).await;
}

#[tokio::test]
async fn what_cannot_be_had_is_refused() {
    let app = with_flow().await;
    let client = &app.client;
    for bad in [
        json!({"limit": 1, "object_ids": ["o1"]}),
        json!({"limit": 0}),
        json!({"limit": -1}),
        json!({"limit": 1.5}),
        json!({"limit": "1"}),
        json!({"limit": null}),
        json!({"limit": 1e300}),
        json!({"object_ids": []}),
        json!({"object_ids": "o1"}),
        json!({"object_ids": [""]}),
        json!({"object_ids": [5]}),
        json!({"object_ids": [".."]}),
        json!({"object_ids": ["a\u{0}"]}),
        json!({"object_ids": ["x".repeat(1025)]}),
        json!({"object_ids": null}),
        json!({"storage_id": id(5)}),
        json!({"storage_id": "x"}),
        json!({"content_type": "mpeg"}),
        json!({"content_type": "foo/bar"}),
        json!({"content_type": "video/mp2t\r\nX: y"}),
        json!({"presigned": "yes"}),
        json!({"presigned": false}),
        json!([]),
        json!("x"),
        json!(5),
        json!([1]),
    ] {
        let answer = client.post(&path(1), &bad).await;
        assert_eq!(answer.status.as_u16(), 400, "{bad} {answer:?}");
    }
    client.allocate(1, &["o1"]).await;
    client.post(&path(9), &json!({})).await.expect(404);
    client.post("/flows/x/storage", &json!({})).await.expect(404);
    assert_eq!(client.get(&path(1)).await.expect(405).header("allow"), Some("POST, OPTIONS"));
    client.head(&path(1)).await.expect(405);
    let mut bare = video_flow(2, 7);
    bare.as_object_mut().unwrap().remove("container");
    client.make(&bare).await;
    for body in [json!({"limit": 1}), json!({"content_type": "video/mp2t"})] {
        assert_eq!(client.post(&path(2), &body).await.expect(400).error_type(), "no_container");
    }
}

#[tokio::test]
async fn a_backend_and_a_content_type_can_be_chosen() {
    let app = with_flow().await;
    let client = &app.client;
    let backend = client.get("/service/storage-backends").await.json[0]["id"].clone();
    let request = json!({"limit": 1, "storage_id": backend, "content_type": "video/iso.segment", "presigned": true,
                         "content-type": "nonsense", "unheard": 1});
    let answer = client.post(&path(1), &request).await.expect(201);
    assert_eq!(answer.json["media_objects"][0]["put_url"]["content-type"], "video/iso.segment");
}
