//! Spec: GET_flows-flowId-label, PUT_flows-flowId-label, DELETE_flows-flowId-label and the other properties of Flows

use std::time::Duration;

use serde_json::{Value, json};
use tamslake::clock::Clock;

use crate::helpers::{Client, TestApp, id, segment, video_flow, with};

fn path(property: &str) -> String {
    format!("/flows/{}/{property}", id(1))
}

async fn flow(client: &Client) -> Value {
    client.get(&format!("/flows/{}", id(1))).await.expect(200).json
}

#[tokio::test]
async fn texts_of_a_flow_are_json_texts() {
    let app = TestApp::start().await;
    let client = &app.client;
    client.make(&video_flow(1, 7)).await;
    for property in ["label", "description"] {
        let path = path(property);
        assert_eq!(client.get(&path).await.expect(200).json, json!(null), "not set");
        client.head(&path).await.expect(200);
        client.delete(&path).await.expect(204);
        client.put(&path, &json!("a \"b\" \u{1F3AC}\n")).await.expect(204);
        assert_eq!(client.get(&path).await.expect(200).json, json!("a \"b\" \u{1F3AC}\n"));
        assert_eq!(flow(client).await[property], "a \"b\" \u{1F3AC}\n");
        for bad in [json!(5), json!({}), json!(["x"]), json!(null), json!(true)] {
            client.put(&path, &bad).await.expect(400);
        }
        client.raw(reqwest::Method::PUT, &path, Some("application/json"), "bare text").await.expect(400);
        assert_eq!(flow(client).await[property], "a \"b\" \u{1F3AC}\n");
        client.delete(&path).await.expect(204);
        assert!(flow(client).await.get(property).is_none());
    }
}

#[tokio::test]
async fn bit_rates_are_whole_numbers_from_zero_on() {
    let app = TestApp::start().await;
    let client = &app.client;
    client.make(&video_flow(1, 7)).await;
    for property in ["max_bit_rate", "avg_bit_rate"] {
        let path = path(property);
        assert_eq!(client.get(&path).await.expect(200).json, json!(null));
        client.delete(&path).await.expect(204);
        for good in [json!(0), json!(5000), json!(9_007_199_254_740_993_u64)] {
            client.put(&path, &good).await.expect(204);
            assert_eq!(client.get(&path).await.expect(200).json, good);
            assert_eq!(flow(client).await[property], good);
        }
        for bad in [json!(-1), json!("5000"), json!(1.5), json!(null), json!([1]), json!(1e300), json!(true)] {
            client.put(&path, &bad).await.expect(400);
        }
        client.raw(reqwest::Method::PUT, &path, None, "99999999999999999999999999").await.expect(400);
        client.raw(reqwest::Method::PUT, &path, None, "NaN").await.expect(400);
        client.delete(&path).await.expect(204);
        assert!(flow(client).await.get(property).is_none());
    }
}

#[tokio::test]
async fn a_tag_is_a_text_or_a_list_of_texts() {
    let app = TestApp::start().await;
    let client = &app.client;
    client.make(&video_flow(1, 7)).await;
    let (tags, tag) = (path("tags"), path("tags/lang"));
    assert_eq!(client.get(&tags).await.expect(200).json, json!({}));
    client.put(&tag, &json!("en")).await.expect(204);
    client.raw(reqwest::Method::PUT, &tag, Some("application/json"), "en").await.expect(400);
    assert_eq!(client.get(&tag).await.expect(200).json, json!("en"));
    client.put(&tag, &json!(["en", "cy"])).await.expect(204);
    for bad in [json!(5), json!(null), json!({}), json!(false), json!([1]), json!(["a", null])] {
        client.put(&tag, &bad).await.expect(400);
    }
    assert_eq!(client.get(&tag).await.expect(200).json, json!(["en", "cy"]));
    assert_eq!(flow(client).await["tags"], json!({"lang": ["en", "cy"]}));
    client.put(&path("tags/other"), &json!([])).await.expect(204);
    client.delete(&tag).await.expect(204);
    client.delete(&tag).await.expect(404);
    client.get(&tag).await.expect(404);
    assert_eq!(client.get(&tags).await.expect(200).json, json!({"other": []}));
    client.delete(&path("tags/other")).await.expect(204);
    assert_eq!(client.get(&tags).await.expect(200).json, json!({}));
    assert!(flow(client).await.get("tags").is_none());
    for answer in
        [client.put(&tags, &json!({})).await, client.post(&tags, &json!({})).await, client.delete(&tags).await]
    {
        assert_eq!(answer.expect(405).header("allow"), Some("GET, HEAD, OPTIONS"));
    }
}

#[tokio::test]
async fn a_tag_name_in_a_path_is_decoded_once() {
    let app = TestApp::start().await;
    let client = &app.client;
    client.make(&video_flow(1, 7)).await;
    let names = [
        ("my%20tag", "my tag"),
        ("a%2Fb", "a/b"),
        ("a.b", "a.b"),
        ("%C3%A9%F0%9F%8E%AC", "é\u{1F3AC}"),
        ("100%25", "100%"),
        ("a%252Fb", "a%2Fb"),
        ("a+b", "a+b"),
        ("%3F%23%26%3D", "?#&="),
        ("%22%27%5C", "\"'\\"),
        ("label", "label"),
        ("%2E%2E%2Fetc", "../etc"),
        ("constructor", "constructor"),
    ];
    for (number, (encoded, _)) in names.iter().enumerate() {
        client.put(&path(&format!("tags/{encoded}")), &json!(number.to_string())).await.expect(204);
    }
    let expected: serde_json::Map<String, Value> =
        names.iter().enumerate().map(|(number, (_, name))| ((*name).to_owned(), json!(number.to_string()))).collect();
    assert_eq!(client.get(&path("tags")).await.json, Value::Object(expected));
    for (number, (encoded, _)) in names.iter().enumerate() {
        let tag = path(&format!("tags/{encoded}"));
        assert_eq!(client.get(&tag).await.expect(200).json, json!(number.to_string()), "{encoded}");
        client.delete(&tag).await.expect(204);
    }
    assert_eq!(client.get(&path("tags")).await.json, json!({}));
}

#[tokio::test]
async fn a_read_only_flow_takes_no_write_but_that_of_its_protection() {
    let app = TestApp::start().await;
    let client = &app.client;
    let protected = with(video_flow(1, 7), json!({"label": "x", "tags": {"a": "b"}}));
    client.make(&protected).await;
    client.register(1, "o1", "[0:0_1:0)").await;
    assert_eq!(client.get(&path("read_only")).await.expect(200).json, json!(false));
    assert!(flow(client).await.get("read_only").is_none());
    for bad in [json!("false"), json!(1), json!(null), json!({}), json!([true])] {
        client.put(&path("read_only"), &bad).await.expect(400);
    }
    client.delete(&path("read_only")).await.expect(405);
    client.put(&path("read_only"), &json!(true)).await.expect(204);
    assert_eq!(client.get(&path("read_only")).await.expect(200).json, json!(true));
    let before = client.everything().await;
    let one = format!("/flows/{}", id(1));
    let mut refusals = vec![
        client.put(&one, &protected).await,
        client.put(&one, &with(protected, json!({"read_only": false}))).await,
        client.delete(&one).await,
        client.put(&path("tags/a"), &json!("x")).await,
        client.delete(&path("tags/a")).await,
        client.delete(&path("tags/none")).await,
        client.post(&path("segments"), &segment("o2", "[1:0_2:0)")).await,
        client.post(&path("segments"), &json!([segment("o2", "[1:0_2:0)")])).await,
        client.post(&path("segments"), &json!([])).await,
        client.delete(&path("segments")).await,
        client.post(&path("storage"), &json!({})).await,
        client.put(&path("flow_collection"), &json!([])).await,
    ];
    for property in ["label", "description", "max_bit_rate", "avg_bit_rate", "flow_collection"] {
        refusals.push(client.delete(&path(property)).await);
    }
    for (property, value) in
        [("label", json!("y")), ("description", json!("y")), ("max_bit_rate", json!(1)), ("avg_bit_rate", json!(1))]
    {
        refusals.push(client.put(&path(property), &value).await);
    }
    for refusal in refusals {
        assert_eq!(refusal.expect(403).error_type(), "read_only");
    }
    assert_eq!(client.everything().await, before);
    client.put(&path("read_only"), &json!(false)).await.expect(204);
    client.put(&path("label"), &json!("y")).await.expect(204);
}

#[tokio::test]
async fn properties_of_an_unknown_flow_are_not_found_and_make_none() {
    let app = TestApp::start().await;
    let client = &app.client;
    for flow in [id(1), "x".into(), "00000000-0000-0000-0000-000000000000".into()] {
        for (property, value) in [
            ("tags/a", json!("x")),
            ("label", json!("x")),
            ("description", json!("x")),
            ("read_only", json!(true)),
            ("flow_collection", json!([])),
            ("max_bit_rate", json!(1)),
            ("avg_bit_rate", json!(1)),
        ] {
            let path = format!("/flows/{flow}/{property}");
            client.get(&path).await.expect(404);
            client.head(&path).await.expect(404);
            client.put(&path, &value).await.expect(404);
            if property != "read_only" {
                client.delete(&path).await.expect(404);
            }
        }
        client.get(&format!("/flows/{flow}/tags")).await.expect(404);
    }
    assert_eq!(client.get("/flows").await.json, json!([]));
}

#[tokio::test]
async fn every_change_of_metadata_is_dated_and_none_of_segments_is() {
    let clock = Clock::manual("2026-08-14T09:00:00Z".parse().unwrap(), 1);
    let app = TestApp::with(|_| {}, clock.clone()).await;
    let client = &app.client;
    let mut last = client.make(&video_flow(1, 7)).await;
    assert!(last.get("segments_updated").is_none());
    for (property, value) in [
        ("label", json!("x")),
        ("description", json!("x")),
        ("tags/a", json!("x")),
        ("max_bit_rate", json!(1)),
        ("avg_bit_rate", json!(1)),
        ("read_only", json!(true)),
        ("read_only", json!(false)),
    ] {
        clock.advance(Duration::from_secs(1));
        client.put(&path(property), &value).await.expect(204);
        let now = flow(client).await;
        assert_ne!(now["metadata_version"], last["metadata_version"], "{property}");
        assert_ne!(now["metadata_updated"], last["metadata_updated"], "{property}");
        assert_eq!(now["created"], last["created"]);
        last = now;
    }
    // Nothing to remove changes nothing.
    clock.advance(Duration::from_secs(1));
    client.delete(&path("flow_collection")).await.expect(204);
    assert_eq!(flow(client).await, last);

    client.register(1, "o1", "[0:0_1:0)").await;
    let now = flow(client).await;
    assert_eq!(now, with(last.clone(), json!({"segments_updated": "2026-08-14T09:00:08Z"})));
    clock.advance(Duration::from_secs(1));
    client.delete(&path("segments?timerange=()")).await.expect(204);
    assert_eq!(flow(client).await, now, "nothing was deleted");
    client.delete(&path("segments")).await.expect(204);
    assert_eq!(flow(client).await, with(last, json!({"segments_updated": "2026-08-14T09:00:09Z"})));
}
