//! One catalogue under three prefixes: none, /v8.2 and /v7.0.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tamslake::clock::Clock;

use crate::helpers::{Client, TestApp, audio_flow, id, video_flow};

fn under(app: &TestApp, prefix: &str) -> Client {
    Client::new(app.client.url(prefix))
}

#[tokio::test]
async fn each_prefix_says_its_version_and_shows_the_same_catalogue() {
    let app = TestApp::start().await;
    for (number, (prefix, version)) in [("", "8.2"), ("/v8.2", "8.2"), ("/v7.0", "7.0")].into_iter().enumerate() {
        let client = under(&app, prefix);
        assert_eq!(client.get("/service").await.expect(200).json["api_version"], version);
        client.make(&audio_flow(u32::try_from(number).unwrap() + 1, 7)).await;
        assert_eq!(client.get("").await.expect(200).json, client.get("/").await.expect(200).json);
        let renamed = client.post("/service", &json!({"name": prefix})).await.expect(200).json;
        assert_eq!(renamed["api_version"], version);
    }
    for prefix in ["", "/v8.2", "/v7.0"] {
        let client = under(&app, prefix);
        let ids = client.get("/flows").await.expect(200).texts("id");
        assert_eq!(ids, [id(3), id(2), id(1)], "{prefix}");
        assert_eq!(client.get(&format!("/flows/{}?x=[1:0", id(1))).await.expect(200).json["id"], id(1));
    }
}

#[tokio::test]
async fn an_unknown_version_is_answered_with_the_known_ones() {
    let app = TestApp::start().await;
    for path in ["/v9.0/flows", "/v8.2.1/flows", "/v8", "/v7/service", "/v08.2"] {
        let answer = app.client.get(path).await.expect(404);
        let summary = answer.json["summary"].as_str().unwrap();
        assert!(summary.contains("8.2 under /v8.2") && summary.contains("7.0 under /v7.0"), "{summary}");
    }
    for path in ["/v8.2/nothing", "/v7.0/nothing", "/v8.2/v8.2/flows", "/v7.0/v8.2/flows", "/video", "/v8.2flows"] {
        assert_eq!(app.client.get(path).await.expect(404).error_type(), "not_found", "{path}");
    }
}

#[tokio::test]
async fn links_and_tokens_stay_in_their_version() {
    let app = TestApp::start().await;
    for number in 1..=3 {
        app.client.make(&audio_flow(number, 7)).await;
        app.client.register(1, &format!("o/{number}"), &format!("[{number}:0_{}:0)", number + 1)).await;
    }
    let prefixes = ["", "/v8.2", "/v7.0"];
    for list in ["/flows".to_owned(), format!("/flows/{}/segments", id(1))] {
        let mut tokens = Vec::new();
        for prefix in prefixes {
            let client = under(&app, prefix);
            let first = client.get(&format!("{list}?limit=1")).await.expect(200);
            let link = first.next_link().unwrap();
            assert!(link.starts_with(&client.url(&format!("{list}?"))), "{link}");
            assert_eq!(client.all(&format!("{list}?limit=1")).await.len(), 3);
            tokens.push(first.header("x-paging-nextkey").unwrap().to_owned());
        }
        for (made, token) in tokens.iter().enumerate() {
            for (used, prefix) in prefixes.iter().enumerate() {
                let answer = under(&app, prefix).get(&format!("{list}?page={token}")).await;
                assert_eq!(answer.status.as_u16(), if made == used { 200 } else { 400 }, "{prefix}");
            }
        }
    }
    // A proxy may add a prefix of its own.
    let request = app.client.http.get(app.client.url("/v7.0/flows?limit=1"));
    let request = request.header("x-forwarded-host", "tams.example").header("x-forwarded-prefix", "/store");
    let link = app.client.send(request).await.expect(200).next_link().unwrap();
    assert!(link.starts_with("http://tams.example/store/v7.0/flows?"), "{link}");
}

#[tokio::test]
async fn what_goes_on_after_its_answer_is_found_in_the_same_version() {
    let app = TestApp::with(|config| config.catalog.max_delete_segments = 1, Clock::system()).await;
    for prefix in ["", "/v8.2", "/v7.0"] {
        let client = under(&app, prefix);
        client.make(&audio_flow(1, 7)).await;
        for second in 0..20 {
            client.register(1, &format!("o{prefix}{second}"), &format!("[{second}:0_{}:0)", second + 1)).await;
        }
        let answer = client.delete(&format!("/flows/{}", id(1))).await.expect(202);
        let location = answer.header("location").unwrap().to_owned();
        assert!(location.starts_with(&client.url("/flow-delete-requests/")), "{location}");
        loop {
            let request = client.send(client.http.get(&location)).await.expect(200).json;
            if request["status"] == "done" {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        client.get("/flow-delete-requests").await.expect(200);
    }
}

#[tokio::test]
async fn media_have_the_same_urls_in_every_version() {
    let app = TestApp::start().await;
    app.client.make(&video_flow(1, 1)).await;
    for (second, prefix) in ["", "/v8.2", "/v7.0"].into_iter().enumerate() {
        let client = under(&app, prefix);
        let object_id = format!("o{second}");
        let put_url = client.allocate(1, &[&object_id]).await.remove(0);
        assert!(put_url.starts_with(&app.client.url("/media/")), "{put_url}");
        let put = client.http.put(&put_url).header("content-type", "video/mp2t").body("bytes").send().await.unwrap();
        assert!(put.status().is_success(), "{put:?}");
        let segments = format!("/flows/{}/segments", id(1));
        let segment = json!({"object_id": object_id, "timerange": format!("[{second}:0_{}:0)", second + 1)});
        client.post(&segments, &segment).await.expect(201);
        let listed = client.get(&format!("{segments}?object_id={object_id}")).await.expect(200).json;
        let url = listed[0]["get_urls"][0]["url"].as_str().unwrap();
        assert!(url.starts_with(&app.client.url("/media/")), "{url}");
        assert_eq!(client.http.get(url).send().await.unwrap().text().await.unwrap(), "bytes");
    }
}

#[tokio::test]
async fn methods_heads_and_preflights_are_the_same_in_every_version() {
    let app = TestApp::start().await;
    app.client.make(&audio_flow(1, 7)).await;
    app.client.register(1, "a/b", "[0:0_1:0)").await;
    for prefix in ["", "/v8.2", "/v7.0"] {
        let client = under(&app, prefix);
        let refused = client.delete("/flows").await.expect(405);
        assert_eq!((refused.error_type(), refused.header("allow")), ("method_not_allowed", Some("GET, HEAD, OPTIONS")));
        let head = client.head("/flows").await.expect(200);
        assert_eq!((head.header("x-paging-count"), head.header("content-type")), (Some("1"), Some("application/json")));
        client.head(&format!("/flows/{}", id(9))).await.expect(404);
        client.get("/objects/a%2Fb").await.expect(200);
        let preflight = client.http.request(Method::OPTIONS, client.url("/flows"));
        let preflight = preflight.header("origin", "https://ui").header("access-control-request-method", "PUT");
        let preflight = client.send(preflight).await.expect(204);
        assert!(preflight.header("access-control-allow-methods").unwrap().contains("PUT"));
        let options = client.send(client.http.request(Method::OPTIONS, client.url("/flows"))).await.expect(204);
        assert_eq!(options.header("allow"), Some("GET, HEAD, OPTIONS"));
        let malformed = client.raw(Method::PUT, &format!("/flows/{}", id(1)), None, "{").await.expect(400);
        assert_eq!(malformed.error_type(), "validation_error");
        client.get("/flows/no-id").await.expect(404);
    }
}

#[tokio::test]
async fn the_document_describes_8_2_and_names_7_0() {
    let app = TestApp::start().await;
    let document: Value = app.client.get("/openapi.json").await.expect(200).json;
    assert_eq!(document["info"]["version"], "8.2");
    assert!(document["info"]["description"].as_str().unwrap().contains("/v7.0"));
    assert_eq!(app.client.get("/v8.2/openapi.json").await.expect(200).json, document);
    app.client.get("/v7.0/openapi.json").await.expect(404);
}
