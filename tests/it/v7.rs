//! Clients of TAMS 7.0, under /v7.0: what they see of an 8.2 catalogue, what they may leave out, and that nothing is lost
//! when they send back what they read. That answers have the shapes of 7.0 is checked by the client with every one.

use serde_json::{Value, json};

use crate::helpers::{Client, TestApp, audio_flow, data_flow, id, multi_flow, object_path, segment, video_flow, with};

fn v7(app: &TestApp) -> Client {
    Client::new(app.client.url("/v7.0"))
}

fn path(flow: u32) -> String {
    format!("/flows/{}", id(flow))
}

/// A Flow with everything that 7.0 cannot see, and two members.
async fn with_a_modern_flow(app: &TestApp) -> Value {
    app.client.make(&audio_flow(2, 2)).await;
    app.client.make(&data_flow(4, 4)).await;
    let flow = with(
        video_flow(1, 1),
        json!({
            "label": "A", "status": "ingesting", "tags": {"lang": ["en", "cy"], "one": ["x"], "none": [], "plain": "a,b"},
            "essence_parameters": {"frame_width": 1920, "frame_height": 1080, "vfr": true, "init_segments": true},
            "flow_collection": [{"id": id(2), "container_mapping": {"track_index": 1}}, {"id": id(4), "role": "subtitles"}],
        }),
    );
    app.client.make(&flow).await
}

/// Without what changes with every write.
fn lasting(mut flow: Value) -> Value {
    for key in ["metadata_version", "metadata_updated", "updated", "updated_by"] {
        flow.as_object_mut().unwrap().remove(key);
    }
    flow
}

#[tokio::test]
async fn a_flow_is_shown_as_7_0_knows_flows() {
    let app = TestApp::start().await;
    let modern = with_a_modern_flow(&app).await;
    let seen = v7(&app).get(&path(1)).await.expect(200).json;
    let expected = with(
        modern,
        json!({
            "tags": {"lang": "en,cy", "one": "x", "none": "", "plain": "a,b"},
            "essence_parameters": {"frame_width": 1920, "frame_height": 1080},
            "flow_collection": [
                {"id": id(2), "role": "audio", "container_mapping": {"track_index": 1}},
                {"id": id(4), "role": "subtitles"},
            ],
        }),
    );
    assert_eq!(seen, expected);
    let list = v7(&app).get("/flows").await.expect(200).json;
    assert_eq!(list[0], expected);
    let collection = v7(&app).get(&format!("{}/flow_collection", path(1))).await.expect(200).json;
    assert_eq!(collection, expected["flow_collection"]);
    let source = v7(&app).get(&format!("/sources/{}", id(1))).await.expect(200).json;
    assert_eq!(source["tags"], expected["tags"]);
    assert_eq!(
        source["source_collection"],
        json!([{"id": id(2), "role": "audio"}, {"id": id(4), "role": "subtitles"}])
    );
    let sources = v7(&app).get("/sources").await.expect(200).json;
    assert!(sources.as_array().unwrap().contains(&source));
}

#[tokio::test]
async fn flags_of_every_format_are_hidden_and_kept() {
    let app = TestApp::start().await;
    let flags = json!({"init_segments": true});
    let audio = json!({"sample_rate": 48000, "channels": 2, "init_segments": true});
    for (number, flow, shown) in [
        (1, with(audio_flow(1, 1), json!({"essence_parameters": audio})), json!({"sample_rate": 48000, "channels": 2})),
        (2, with(data_flow(2, 2), json!({"essence_parameters": flags})), json!({})),
        (3, with(multi_flow(3, 3), json!({"essence_parameters": flags})), Value::Null),
    ] {
        let before = app.client.make(&flow).await;
        let mut seen = v7(&app).get(&path(number)).await.expect(200).json;
        assert_eq!(seen["essence_parameters"], shown);
        seen["label"] = json!("edited");
        v7(&app).put(&path(number), &seen).await.expect(204);
        let after = app.client.get(&path(number)).await.expect(200).json;
        assert_eq!(lasting(after), lasting(with(before, json!({"label": "edited"}))));
    }
}

#[tokio::test]
async fn what_a_client_read_and_sends_back_changes_only_what_it_changed() {
    let app = TestApp::start().await;
    let before = with_a_modern_flow(&app).await;
    let mut seen = v7(&app).get(&path(1)).await.expect(200).json;
    seen["label"] = json!("edited");
    // 7.0 has no such key, so its clients drop it.
    seen.as_object_mut().unwrap().remove("status");
    v7(&app).put(&path(1), &seen).await.expect(204);
    let after = app.client.get(&path(1)).await.expect(200).json;
    assert_eq!(lasting(after), lasting(with(before, json!({"label": "edited"}))));
}

#[tokio::test]
async fn a_profile_is_not_seen_and_not_left_by_accident() {
    let app = TestApp::start().await;
    let essence = json!({"sample_rate": 48000, "channels": 2, "init_segments": true});
    let metadata = json!({
        "format": "urn:x-nmos:format:audio", "codec": "audio/aac", "container": "audio/mp4", "avg_bit_rate": 128,
        "essence_parameters": essence,
    });
    let profile = json!({"id": id(9), "label": "stereo", "flow_metadata": metadata});
    app.client.post(&format!("/service/profiles/{}", id(9)), &profile).await.expect(201);
    let flow = json!({"id": id(1), "source_id": id(1), "profile_id": id(9), "max_bit_rate": 256});
    app.client.make(&flow).await;

    let mut seen = v7(&app).get(&path(1)).await.expect(200).json;
    assert_eq!((seen.get("profile_id"), &seen["codec"]), (None, &json!("audio/aac")));
    seen["label"] = json!("edited");
    v7(&app).put(&path(1), &seen).await.expect(204);
    let after = app.client.get(&path(1)).await.expect(200).json;
    assert_eq!((&after["label"], &after["profile_id"]), (&json!("edited"), &json!(id(9))));

    seen["avg_bit_rate"] = json!(96);
    v7(&app).put(&path(1), &seen).await.expect(204);
    let after = app.client.get(&path(1)).await.expect(200).json;
    assert_eq!((after.get("profile_id"), &after["avg_bit_rate"]), (None, &json!(96)));
    assert_eq!(after["essence_parameters"], essence);
}

#[tokio::test]
async fn what_a_client_changes_is_changed() {
    let app = TestApp::start().await;
    with_a_modern_flow(&app).await;
    let mut seen = v7(&app).get(&path(1)).await.expect(200).json;
    seen["tags"] = json!({"lang": "en", "one": "x", "new": "c,d"});
    seen["status"] = json!("closed_complete");
    seen["essence_parameters"]["frame_rate"] = json!({"numerator": 50});
    seen["flow_collection"] = json!([{"id": id(2), "role": "music"}, {"id": id(4), "role": "data"}]);
    v7(&app).put(&path(1), &seen).await.expect(204);
    let after = app.client.get(&path(1)).await.expect(200).json;
    assert_eq!(after["tags"], json!({"lang": "en", "one": ["x"], "new": "c,d"}));
    assert_eq!(after["status"], "closed_complete");
    let essence = json!({
        "frame_width": 1920, "frame_height": 1080, "frame_rate": {"numerator": 50}, "init_segments": true,
    });
    assert_eq!(after["essence_parameters"], essence);
    // "data" is what a member without a role is shown with, but this one had another.
    assert_eq!(after["flow_collection"], seen["flow_collection"]);
}

#[tokio::test]
async fn single_tags_and_collections_can_be_sent_back_too() {
    let app = TestApp::start().await;
    let before = with_a_modern_flow(&app).await;
    let client = v7(&app);
    for owner in [path(1), format!("/sources/{}", id(1))] {
        let tags = client.get(&format!("{owner}/tags")).await.expect(200).json;
        assert_eq!(tags, json!({"lang": "en,cy", "one": "x", "none": "", "plain": "a,b"}));
        for (name, text) in tags.as_object().unwrap() {
            let tag = format!("{owner}/tags/{name}");
            assert_eq!(client.get(&tag).await.expect(200).json, *text);
            client.put(&tag, text).await.expect(204);
        }
        assert_eq!(app.client.get(&format!("{owner}/tags")).await.expect(200).json, before["tags"]);
        client.put(&format!("{owner}/tags/lang"), &json!("en")).await.expect(204);
        assert_eq!(app.client.get(&format!("{owner}/tags/lang")).await.expect(200).json, "en");
        client.delete(&format!("{owner}/tags/lang")).await.expect(204);
        client.get(&format!("{owner}/tags/lang")).await.expect(404);
    }
    let collection = format!("{}/flow_collection", path(1));
    let seen = client.get(&collection).await.expect(200).json;
    client.put(&collection, &seen).await.expect(204);
    assert_eq!(app.client.get(&collection).await.expect(200).json, before["flow_collection"]);
    let changed = json!([{"id": id(2), "role": "music"}]);
    client.put(&collection, &changed).await.expect(204);
    assert_eq!(app.client.get(&collection).await.expect(200).json, changed);
}

#[tokio::test]
async fn a_member_may_come_without_a_role_and_is_shown_with_one() {
    let app = TestApp::start().await;
    app.client.make(&audio_flow(2, 2)).await;
    let flow = with(multi_flow(1, 1), json!({"flow_collection": [{"id": id(2)}]}));
    let made = v7(&app).make(&flow).await;
    assert_eq!(made["flow_collection"], json!([{"id": id(2), "role": "audio"}]));
    assert_eq!(app.client.get(&path(1)).await.expect(200).json["flow_collection"], flow["flow_collection"]);
    // The Flow that is put first has not been read, so its role is the client's own.
    let other = with(multi_flow(3, 3), json!({"flow_collection": [{"id": id(2), "role": "audio"}]}));
    v7(&app).make(&other).await;
    assert_eq!(app.client.get(&path(3)).await.expect(200).json["flow_collection"], other["flow_collection"]);
}

#[tokio::test]
async fn nothing_that_was_sent_back_unchanged_makes_a_new_version() {
    let app = TestApp::start().await;
    let before = with_a_modern_flow(&app).await;
    v7(&app).put(&format!("{}/tags/lang", path(1)), &json!("en,cy")).await.expect(204);
    assert_eq!(app.client.get(&path(1)).await.expect(200).json, before);
}

#[tokio::test]
async fn tag_filters_compare_the_whole_text() {
    let app = TestApp::start().await;
    for (number, genre) in [(1, json!("news")), (2, json!(["sport", "news"])), (3, json!("sport,news"))] {
        app.client.make(&with(audio_flow(number, number), json!({"tags": {"genre": genre}}))).await;
    }
    for (query, flows) in [
        ("tag.genre=news", vec![1]),
        ("tag.genre=sport,news", vec![3, 2]),
        ("tag.genre=sport%2Cnews", vec![3, 2]),
        ("tag.genre=sport", vec![]),
        ("tag.genre=a,,b", vec![]),
        ("tag_exists.genre=true", vec![3, 2, 1]),
    ] {
        for list in ["/flows", "/sources"] {
            let found = v7(&app).get(&format!("{list}?{query}")).await.expect(200).texts("id");
            assert_eq!(found, flows.iter().map(|number| id(*number)).collect::<Vec<_>>(), "{list}?{query}");
        }
    }
    let modern = app.client.get("/flows?tag.genre=sport,news").await.expect(200).texts("id");
    assert_eq!(modern, [id(2), id(1)]);
}

#[tokio::test]
async fn urls_need_no_label_and_are_then_hidden_from_filters_by_label() {
    let app = TestApp::start().await;
    app.client.make(&audio_flow(1, 1)).await;
    let segments = format!("{}/segments", path(1));
    let nameless = |object: &str, range: &str| {
        json!({"object_id": object, "timerange": range,
               "get_urls": [{"url": "https://a.example/1"}, {"url": "https://b.example/1"}]})
    };
    let refused = app.client.post(&segments, &nameless("o1", "[0:0_1:0)")).await.expect(400);
    assert_eq!(refused.json["message"][0]["loc"], json!(["body", "get_urls", 0, "label"]));
    let list = json!([segment("o0", "[5:0_6:0)"), nameless("o1", "[0:0_1:0)")]);
    let refused = app.client.post(&segments, &list).await.expect(400);
    assert_eq!(refused.json["message"][0]["loc"], json!(["body", 1, "get_urls", 0, "label"]));

    let client = v7(&app);
    client.post(&segments, &nameless("o1", "[0:0_1:0)")).await.expect(201);
    // Again, as after an answer that got lost.
    client.post(&segments, &nameless("o1", "[0:0_1:0)")).await.expect(201);
    client.post(&segments, &json!([nameless("o2", "[1:0_2:0)"), segment("o3", "[2:0_3:0)")])).await.expect(201);
    for api in [&app.client, &client] {
        let all = api.get(&segments).await.expect(200).json;
        assert_eq!(all[0]["get_urls"], json!([{"url": "https://a.example/1"}, {"url": "https://b.example/1"}]));
        assert_eq!(all[2]["get_urls"][0]["label"], "cdn");
        let labelled = api.get(&format!("{segments}?accept_get_urls=cdn")).await.expect(200).json;
        assert_eq!(labelled[0].get("get_urls"), None);
        assert_eq!(labelled[2]["get_urls"].as_array().unwrap().len(), 1);
    }
    let taken = json!({"object_id": "o4", "timerange": "[3:0_4:0)",
                       "get_urls": [{"url": "https://a", "label": "x"}, {"url": "https://b", "label": "x"}]});
    client.post(&segments, &taken).await.expect(400);
}

#[tokio::test]
async fn segments_tell_of_their_storage_without_its_tags() {
    let app = TestApp::start().await;
    app.client.make(&audio_flow(1, 1)).await;
    app.client.register(1, "a/b", "[0:0_1:0)").await;
    let object = json!({"object_id": "kept", "timerange": "[1:0_2:0)"});
    app.client.allocate(1, &["kept"]).await;
    let client = v7(&app);
    let segments = format!("{}/segments?verbose_storage=true", path(1));
    client.post(&format!("{}/segments", path(1)), &object).await.expect(201);
    for segment in client.get(&segments).await.expect(200).json.as_array().unwrap() {
        for url in segment["get_urls"].as_array().unwrap() {
            assert_eq!((url.get("tags"), url["controlled"].is_boolean()), (None, true), "{url}");
        }
    }
    let backends = client.get("/service/storage-backends").await.expect(200).json;
    assert_eq!(backends[0].get("tags"), None);
    let object = client.get(&object_path("a/b")).await.expect(200).json;
    assert_eq!(object["referenced_by_flows"], json!([id(1)]));
}

#[tokio::test]
async fn video_may_leave_its_frame_rate_open() {
    let app = TestApp::start().await;
    let flow = with(video_flow(1, 1), json!({"essence_parameters": {"frame_width": 1, "frame_height": 1}}));
    app.client.put(&path(1), &flow).await.expect(400);
    let made = v7(&app).make(&flow).await;
    assert_eq!(made["essence_parameters"], flow["essence_parameters"]);
    v7(&app).put(&path(1), &flow).await.expect(204);
    // Unknown stays unknown, also where 8.2 would have a word for it; not asked through the client, whose contract it breaks.
    let answer = app.client.http.get(app.client.url(&path(1))).send().await.unwrap();
    let modern: Value = answer.json().await.unwrap();
    assert_eq!(modern["essence_parameters"], flow["essence_parameters"]);
    let vfr = with(
        flow,
        json!({"essence_parameters": {"frame_width": 1, "frame_height": 1, "frame_rate": {"numerator": 25}, "vfr": true}}),
    );
    v7(&app).put(&path(1), &vfr).await.expect(400);
}

#[tokio::test]
async fn a_label_that_was_never_set_is_not_found() {
    let app = TestApp::start().await;
    app.client.make(&audio_flow(1, 1)).await;
    for owner in [path(1), format!("/sources/{}", id(1))] {
        let label = format!("{owner}/label");
        assert_eq!(v7(&app).get(&label).await.expect(404).error_type(), "not_found");
        v7(&app).head(&label).await.expect(404);
        assert_eq!(app.client.get(&label).await.expect(200).json, Value::Null);
        v7(&app).put(&label, &json!("A")).await.expect(204);
        assert_eq!(v7(&app).get(&label).await.expect(200).json, "A");
        v7(&app).delete(&label).await.expect(204);
        v7(&app).get(&label).await.expect(404);
    }
}

#[tokio::test]
async fn the_codec_filter_takes_any_type_and_subtype() {
    let app = TestApp::start().await;
    app.client.make(&with(audio_flow(1, 1), json!({"codec": "sound/wave"}))).await;
    app.client.get("/flows?codec=sound/wave").await.expect(400);
    assert_eq!(v7(&app).get("/flows?codec=sound/wave").await.expect(200).texts("id"), [id(1)]);
    assert_eq!(v7(&app).get("/flows?codec=audio/aac").await.expect(200).json, json!([]));
    v7(&app).get("/flows?codec=aac").await.expect(400);
}

#[tokio::test]
async fn what_came_after_7_0_is_not_there() {
    let app = TestApp::start().await;
    app.client.make(&audio_flow(1, 1)).await;
    app.client.register(1, "o1", "[0:0_1:0)").await;
    for path in [
        "/service/profiles".to_owned(),
        format!("/service/profiles/{}", id(1)),
        format!("/service/webhooks/{}", id(1)),
        "/objects/o1/instances".to_owned(),
        "/media/o1".to_owned(),
    ] {
        v7(&app).get(&path).await.expect(404);
        v7(&app).post(&path, &json!({})).await.expect(404);
    }
}

#[tokio::test]
async fn the_extent_of_a_flow_means_the_same_as_in_8_2() {
    let app = TestApp::start().await;
    app.client.make(&with(audio_flow(1, 1), json!({"timerange": "[0:0_9:0)"}))).await;
    for (object, range) in [("o1", "[0:0_10:0)"), ("o2", "[10:0_20:0)"), ("o3", "[30:0_40:0)")] {
        app.client.register(1, object, range).await;
    }
    let query = format!("{}?include_timerange=true&timerange=[5:0_12:0)", path(1));
    for client in [&app.client, &v7(&app)] {
        assert_eq!(client.get(&query).await.expect(200).json["timerange"], "[0:0_20:0)");
    }
}
