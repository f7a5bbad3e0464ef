//! Spec: GET_service, HEAD_service, POST_service

use serde_json::json;
use tamslake::clock::Clock;
use tamslake::domain::Timestamp;

use crate::helpers::TestApp;

fn time(value: &serde_json::Value) -> Timestamp {
    value.as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn the_service_says_its_version_and_how_long_it_waits() {
    let app = TestApp::start().await;
    let service = app.client.get("/service").await.expect(200).json;
    assert!(service["type"].as_str().unwrap().starts_with("urn:x-tams:service"));
    assert_eq!(service["api_version"], "8.2");
    let (objects, urls) = (time(&service["min_object_timeout"]), time(&service["min_presigned_url_timeout"]));
    assert!(objects >= "300:0".parse().unwrap(), "{objects}");
    assert!(urls >= "30:0".parse().unwrap() && urls <= objects, "{urls} {objects}");
    for absent in ["name", "description"] {
        assert!(service.get(absent).is_none(), "{absent} was never set: {service}");
    }
    let names: Vec<_> = service["event_stream_mechanisms"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["webhooks", "server-sent-events", "websocket"]);
}

#[tokio::test]
async fn a_name_and_a_description_are_kept_changed_alone_and_removed_by_an_empty_text() {
    let app = TestApp::start().await;
    let client = &app.client;
    let before = client.get("/service").await.json;
    client.post("/service", &json!({"name": "A", "description": "B"})).await.expect(200);
    client.post("/service", &json!({"name": "A2"})).await.expect(200);
    let service = client.get("/service").await.json;
    assert_eq!((&service["name"], &service["description"]), (&json!("A2"), &json!("B")));
    client.post("/service", &json!({"description": ""})).await.expect(200);
    let service = client.get("/service").await.json;
    assert_eq!(service["name"], "A2");
    assert!(service.get("description").is_none());
    client.post("/service", &json!({"name": "", "type": "x", "api_version": "7.0", "unheard": [1]})).await.expect(200);
    assert_eq!(client.get("/service").await.json, before);
}

#[tokio::test]
async fn what_is_no_text_is_no_name() {
    let app = TestApp::start().await;
    let before = app.client.get("/service").await.json;
    for bad in
        [json!({"name": 5}), json!({"name": null}), json!({"description": ["x"]}), json!([]), json!("A"), json!(null)]
    {
        app.client.post("/service", &bad).await.expect(400);
    }
    assert_eq!(app.client.get("/service").await.json, before);
    for answer in [app.client.put("/service", &json!({})).await, app.client.delete("/service").await] {
        assert_eq!(answer.expect(405).header("allow"), Some("GET, POST, HEAD, OPTIONS"));
    }
}

#[tokio::test]
async fn the_name_and_the_storage_backend_survive_a_restart() {
    let app = TestApp::start().await;
    app.client.post("/service", &json!({"name": "A", "description": "ü\n\u{1F3AC}"})).await.expect(200);
    let paths = ["/service", "/service/storage-backends"];
    let mut before = Vec::new();
    for path in paths {
        before.push(app.client.get(path).await.expect(200).json);
    }
    let folder = app.stop().await;
    let app = TestApp::with(|config| config.data.dir = folder.path().join("data"), Clock::system()).await;
    for (path, before) in paths.iter().zip(before) {
        assert_eq!(app.client.get(path).await.expect(200).json, before, "{path}");
    }
}
