//! Spec: GET_storage-backends, HEAD_storage-backends

use serde_json::json;
use tamslake::clock::Clock;

use crate::helpers::TestApp;

const PATH: &str = "/service/storage-backends";

#[tokio::test]
async fn the_embedded_store_is_the_one_default_backend() {
    let app = TestApp::with(|config| config.media.label = "here".into(), Clock::system()).await;
    let answer = app.client.get(PATH).await.expect(200);
    let backends = answer.json.as_array().unwrap();
    assert_eq!(backends.len(), 1);
    let backend = backends[0].as_object().unwrap();
    assert_eq!(backend["store_type"], "http_object_store");
    assert_eq!((&backend["label"], &backend["default_storage"]), (&json!("here"), &json!(true)));
    for key in ["id", "provider", "store_product"] {
        assert!(backend[key].as_str().is_some_and(|text| !text.is_empty()), "{key}");
    }
    assert!(!backend.contains_key("tags"), "there are none");
    assert_eq!(answer.header("x-paging-count"), Some("1"));
    assert_eq!(answer.header("x-paging-limit"), Some("100"));
    assert_eq!(answer.header("x-paging-reverse-order"), Some("false"));
    assert_eq!((answer.next_link(), answer.header("x-paging-nextkey")), (None, None));
}

#[tokio::test]
async fn tags_choose_backends_and_bad_queries_are_refused() {
    let app = TestApp::start().await;
    for (query, count) in [
        ("tag.tier=hot", 0),
        ("tag_exists.tier=true", 0),
        ("tag_exists.tier=false", 1),
        ("reverse_order=true", 1),
        ("limit=1", 1),
        ("unheard=of", 1),
    ] {
        let answer = app.client.get(&format!("{PATH}?{query}")).await.expect(200);
        assert_eq!(answer.json.as_array().unwrap().len(), count, "{query}");
        assert_eq!(answer.header("x-paging-count"), Some(count.to_string().as_str()), "{query}");
    }
    for query in ["tag_exists.tier=maybe", "tag.tier=a,,b", "limit=0", "limit=x", "reverse_order=maybe", "page=x"] {
        app.client.get(&format!("{PATH}?{query}")).await.expect(400);
        app.client.head(&format!("{PATH}?{query}")).await.expect(400);
    }
}
