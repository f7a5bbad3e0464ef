//! Spec: GET_root, HEAD_root

use serde_json::json;

use crate::helpers::TestApp;

#[tokio::test]
async fn the_root_names_the_paths_without_slashes_and_is_no_paged_list() {
    let app = TestApp::start().await;
    let answer = app.client.get("/").await.expect(200);
    let names: Vec<&str> = answer.json.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    for name in ["service", "flows", "sources", "flow-delete-requests"] {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    assert!(names.iter().all(|name| !name.contains('/')), "{names:?}");
    assert_eq!(answer.header("x-paging-limit"), None);
    assert_eq!(app.client.head("/").await.expect(200).header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn the_root_cannot_be_written() {
    let app = TestApp::start().await;
    for answer in [app.client.post("/", &json!([])).await, app.client.put("/", &json!([])).await] {
        let answer = answer.expect(405);
        assert_eq!(answer.header("allow"), Some("GET, HEAD, OPTIONS"));
    }
}
