//! Spec: GET_sources, GET_sources-sourceId and the properties of Sources, with HEAD, PUT and DELETE

use std::time::Duration;

use serde_json::json;
use tamslake::clock::Clock;

use crate::helpers::{TestApp, audio_flow, data_flow, id, multi_flow, video_flow, with};

/// Four Sources, made one second after the other: 1 "b", 2 without label, 3 "a", 4 without label.
async fn four() -> TestApp {
    let clock = Clock::manual("2026-08-14T09:00:00Z".parse().unwrap(), 1);
    let app = TestApp::with(|_| {}, clock.clone()).await;
    for (number, flow) in [
        (1, with(video_flow(1, 1), json!({"label": "b", "tags": {"genre": "news", "my tag": "", "a.b": "x"}}))),
        (2, with(audio_flow(2, 2), json!({"tags": {"genre": ["sport", "news"], "lang": "en", "none": []}}))),
        (3, with(data_flow(3, 3), json!({"label": "a", "tags": {"genre": "newsroom"}}))),
        (4, multi_flow(4, 4)),
    ] {
        assert_eq!(flow["id"], id(number));
        app.client.make(&flow).await;
        clock.advance(Duration::from_secs(1));
    }
    app
}

/// Numbers of the Sources, in order.
async fn found(app: &TestApp, query: &str) -> Vec<u32> {
    let answer = app.client.get(&format!("/sources?{query}")).await.expect(200);
    answer.texts("id").iter().map(|id| id[24..].parse().unwrap()).collect()
}

#[tokio::test]
async fn a_source_lives_from_its_first_flow_to_its_last() {
    let app = TestApp::start().await;
    let client = &app.client;
    let flow = with(video_flow(1, 7), json!({"label": "Cam 1", "description": "d", "tags": {"x": ["1", "2"]}}));
    client.make(&flow).await;
    let path = format!("/sources/{}", id(7));
    let source = client.get(&path).await.expect(200).json;
    assert_eq!((&source["id"], &source["format"]), (&json!(id(7)), &json!("urn:x-nmos:format:video")));
    assert_eq!((&source["label"], &source["description"]), (&json!("Cam 1"), &json!("d")));
    assert_eq!(source["tags"], json!({"x": ["1", "2"]}));
    assert_eq!(source["created"], client.get(&format!("/flows/{}", id(1))).await.json["created"]);
    for absent in ["source_collection", "collected_by", "created_by", "updated_by"] {
        assert!(source.get(absent).is_none(), "{absent}");
    }

    client.put(&format!("/flows/{}/label", id(1)), &json!("Cam 1b")).await.expect(204);
    client.make(&with(video_flow(2, 7), json!({"label": "second"}))).await;
    assert_eq!(client.get(&path).await.json, source, "later Flows do not change it");

    client.delete(&format!("/flows/{}", id(1))).await.expect(204);
    client.get(&path).await.expect(200);
    client.delete(&format!("/flows/{}", id(2))).await.expect(204);
    client.get(&path).await.expect(404);
    assert_eq!(client.get("/sources").await.json, json!([]));
}

#[tokio::test]
async fn a_source_without_flows_after_a_move_is_gone() {
    let app = TestApp::start().await;
    let client = &app.client;
    client.make(&video_flow(1, 7)).await;
    client.put(&format!("/flows/{}", id(1)), &video_flow(1, 8)).await.expect(204);
    client.get(&format!("/sources/{}", id(7))).await.expect(404);
    client.get(&format!("/sources/{}", id(8))).await.expect(200);
    client.make(&audio_flow(2, 9)).await;
    let refused = client.put(&format!("/flows/{}", id(1)), &video_flow(1, 9)).await.expect(400);
    assert_eq!(refused.error_type(), "source_conflict");
    client.get(&format!("/sources/{}", id(8))).await.expect(200);
}

#[tokio::test]
async fn sources_cannot_be_made_or_removed_by_themselves() {
    let app = TestApp::start().await;
    let client = &app.client;
    client.make(&video_flow(1, 7)).await;
    let one = format!("/sources/{}", id(7));
    for answer in [
        client.post("/sources", &json!({})).await,
        client.put("/sources", &json!({})).await,
        client.delete("/sources").await,
        client.put(&one, &json!({"id": id(7)})).await,
        client.post(&one, &json!({})).await,
        client.delete(&one).await,
        client.put(&format!("{one}/tags"), &json!({})).await,
        client.delete(&format!("{one}/tags")).await,
    ] {
        assert_eq!(answer.expect(405).header("allow"), Some("GET, HEAD, OPTIONS"));
    }
    client.get(&one).await.expect(200);
    for unknown in [id(8), "x".into(), id(7).replace('4', "7")] {
        client.get(&format!("/sources/{unknown}")).await.expect(404);
        client.head(&format!("/sources/{unknown}")).await.expect(404);
    }
}

#[tokio::test]
async fn sources_are_sorted_newest_first_or_as_asked() {
    let app = four().await;
    app.client.put(&format!("/sources/{}/label", id(2)), &json!("c")).await.expect(204);
    app.client.delete(&format!("/sources/{}/label", id(2))).await.expect(204);
    assert_eq!(found(&app, "").await, [4, 3, 2, 1]);
    assert_eq!(found(&app, "sort_by=created").await, [4, 3, 2, 1]);
    assert_eq!(found(&app, "sort_by=created&reverse_order=true").await, [1, 2, 3, 4]);
    assert_eq!(found(&app, "sort_by=updated").await, [2, 4, 3, 1]);
    assert_eq!(found(&app, "sort_by=updated&reverse_order=true").await, [1, 3, 4, 2]);
    assert_eq!(found(&app, "sort_by=label").await, [3, 1, 2, 4]);
    assert_eq!(found(&app, "sort_by=label&reverse_order=true").await, [4, 2, 1, 3]);
    for bad in ["sort_by=metadata_updated", "sort_by=", "sort_by=id", "reverse_order=1"] {
        app.client.get(&format!("/sources?{bad}")).await.expect(400);
    }
}

#[tokio::test]
async fn sources_are_found_by_label_format_and_tags() {
    let app = four().await;
    for (query, numbers) in [
        ("label=b", vec![1]),
        ("label=", vec![]),
        ("label=B", vec![]),
        ("format=urn:x-nmos:format:video", vec![1]),
        ("format=urn%3Ax-nmos%3Aformat%3Aaudio", vec![2]),
        ("format=urn:x-nmos:format:data", vec![3]),
        ("format=urn:x-nmos:format:multi", vec![4]),
        ("format=urn:x-tam:format:image", vec![]),
        ("tag.genre=news", vec![2, 1]),
        ("tag.genre=sport,drama", vec![2]),
        ("tag.genre=sport%2Cdrama", vec![2]),
        ("tag.genre=news&tag.lang=en", vec![2]),
        ("tag.genre=news&tag_exists.genre=false", vec![]),
        ("tag_exists.my%20tag=true", vec![1]),
        ("tag_exists.my+tag=true", vec![1]),
        ("tag.my%20tag=", vec![1]),
        ("tag_exists.none=true", vec![2]),
        ("tag.none=", vec![]),
        ("tag.a.b=x", vec![1]),
        ("tag_exists.a.b=false", vec![4, 3, 2]),
        ("label=b&format=urn:x-nmos:format:audio", vec![]),
        ("label=a&label=b", vec![1]),
        ("unheard=of", vec![4, 3, 2, 1]),
    ] {
        assert_eq!(found(&app, query).await, numbers, "{query}");
    }
    for bad in ["format=video", "format=", "tag.genre=news,,x", "tag.genre=news,", "tag_exists.a.b=perhaps"] {
        app.client.get(&format!("/sources?{bad}")).await.expect(400);
    }
}

#[tokio::test]
async fn collected_by_ids_of_sources_has_three_forms() {
    let app = four().await;
    let members = json!([{"id": id(1)}, {"id": id(2)}]);
    app.client.put(&format!("/flows/{}/flow_collection", id(4)), &members).await.expect(204);
    let sorted = "sort_by=created&reverse_order=true";
    assert_eq!(found(&app, &format!("{sorted}&collected_by_ids={}", id(4))).await, [1, 2]);
    assert_eq!(found(&app, &format!("{sorted}&collected_by_ids={},{}", id(9), id(4))).await, [1, 2]);
    assert_eq!(found(&app, &format!("{sorted}&collected_by_ids=")).await, [3, 4]);
    assert_eq!(found(&app, &format!("{sorted}&collected_by_ids={}", id(9))).await, [0_u32; 0]);
    for bad in [format!("{},", id(4)), "x".into(), ",".into()] {
        app.client.get(&format!("/sources?collected_by_ids={bad}")).await.expect(400);
    }
}

#[tokio::test]
async fn properties_of_a_source_are_set_read_and_removed() {
    let app = TestApp::start().await;
    let client = &app.client;
    client.make(&video_flow(1, 7)).await;
    let source = format!("/sources/{}", id(7));
    for property in ["label", "description"] {
        let path = format!("{source}/{property}");
        assert_eq!(client.get(&path).await.expect(200).json, json!(null));
        client.delete(&path).await.expect(204);
        client.put(&path, &json!("Ünï \u{1F3AC}")).await.expect(204);
        assert_eq!(client.get(&path).await.expect(200).json, json!("Ünï \u{1F3AC}"));
        assert_eq!(client.get(&source).await.json[property], "Ünï \u{1F3AC}");
        for bad in [json!(5), json!({}), json!(null), json!(["x"]), json!(true)] {
            client.put(&path, &bad).await.expect(400);
        }
        client.put(&path, &json!("")).await.expect(204);
        assert_eq!(client.get(&path).await.expect(200).json, json!(""));
        client.delete(&path).await.expect(204);
        assert!(client.get(&source).await.json.get(property).is_none());
        let unknown = format!("/sources/{}/{property}", id(8));
        for answer in
            [client.get(&unknown).await, client.put(&unknown, &json!("x")).await, client.delete(&unknown).await]
        {
            answer.expect(404);
        }
    }
    assert_eq!(client.get(&format!("/flows/{}", id(1))).await.json.get("label"), None, "the Flow has its own");
}

#[tokio::test]
async fn tags_of_a_source_are_json() {
    let app = TestApp::start().await;
    let client = &app.client;
    client.make(&video_flow(1, 7)).await;
    let (tags, tag) = (format!("/sources/{}/tags", id(7)), format!("/sources/{}/tags/lang", id(7)));
    assert_eq!(client.get(&tags).await.expect(200).json, json!({}));
    for value in [json!("en"), json!(["en", "cy"]), json!([]), json!("")] {
        client.put(&tag, &value).await.expect(204);
        assert_eq!(client.get(&tag).await.expect(200).json, value);
        assert_eq!(client.get(&tags).await.expect(200).json, json!({"lang": value}));
    }
    for bad in [json!(5), json!(null), json!({}), json!(true), json!(["a", 1]), json!([["a"]]), json!([null])] {
        client.put(&tag, &bad).await.expect(400);
    }
    assert_eq!(client.get(&tag).await.json, json!(""));
    client.delete(&tag).await.expect(204);
    client.delete(&tag).await.expect(404);
    client.get(&tag).await.expect(404);
    client.put(&format!("/sources/{}/tags/lang", id(8)), &json!("en")).await.expect(404);
    assert_eq!(client.get(&tags).await.json, json!({}));
}

#[tokio::test]
async fn a_change_of_a_source_is_dated() {
    let clock = Clock::manual("2026-08-14T09:00:00Z".parse().unwrap(), 1);
    let app = TestApp::with(|_| {}, clock.clone()).await;
    let client = &app.client;
    client.make(&video_flow(1, 7)).await;
    let path = format!("/sources/{}", id(7));
    for (at, answer) in [
        ("2026-08-14T09:00:01Z", ("label", json!("x"))),
        ("2026-08-14T09:00:02Z", ("description", json!("x"))),
        ("2026-08-14T09:00:03Z", ("tags/t", json!("x"))),
    ] {
        clock.advance(Duration::from_secs(1));
        client.put(&format!("{path}/{}", answer.0), &answer.1).await.expect(204);
        let source = client.get(&path).await.json;
        assert_eq!((&source["created"], &source["updated"]), (&json!("2026-08-14T09:00:00Z"), &json!(at)));
    }
}
