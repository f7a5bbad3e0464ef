//! Spec: POST_flows-flowId-segments

use std::time::Duration;

use serde_json::{Value, json};
use tamslake::clock::Clock;

use crate::helpers::{Answer, Client, TestApp, id, segment, video_flow, with};

fn path(flow: u32) -> String {
    format!("/flows/{}/segments", id(flow))
}

/// Flows 1, 2 and 3 of one Source.
async fn with_flows() -> TestApp {
    let app = TestApp::start().await;
    for flow in 1..=3 {
        app.client.make(&video_flow(flow, 7)).await;
    }
    app
}

/// Flows 1 and 2 with init_segments, 3 without.
async fn with_init_flows() -> TestApp {
    let app = TestApp::start().await;
    for flow in 1..=2 {
        let mut flow = video_flow(flow, 7);
        flow["essence_parameters"]["init_segments"] = json!(true);
        app.client.make(&flow).await;
    }
    app.client.make(&video_flow(3, 7)).await;
    app
}

async fn post(client: &Client, flow: u32, segment: Value) -> Answer {
    client.post(&path(flow), &segment).await
}

#[tokio::test]
async fn a_timerange_is_stored_in_its_one_spelling_or_refused() {
    let app = with_flows().await;
    let client = &app.client;
    for (number, (timerange, stored)) in [
        ("[5:0]", "[5:0]"),
        ("6:0", "[6:0]"),
        ("[7:0_7:0]", "[7:0]"),
        ("8:0_9:0", "[8:0_9:0]"),
        ("(9:0_10:0)", "(9:0_10:0)"),
        ("(10:0_11:0]", "(10:0_11:0]"),
        ("-1:500000000", "[-1:500000000]"),
        ("-0:5_-0:0", "[-0:5_0:0]"),
        ("[-281474976710655:999999999_-281474976710655:0)", "[-281474976710655:999999999_-281474976710655:0)"),
        ("[281474976710655:0_281474976710655:999999999]", "[281474976710655:0_281474976710655:999999999]"),
    ]
    .into_iter()
    .enumerate()
    {
        let object = format!("o{number}");
        let answer = post(client, 1, segment(&object, timerange)).await;
        assert_eq!((answer.status.as_u16(), answer.json), (201, json!(null)), "{timerange}");
        let found = client.get(&format!("{}?object_id={object}", path(1))).await.texts("timerange");
        assert_eq!(found, [stored], "{timerange}");
    }
    let before = client.everything().await;
    for bad in [
        "_",
        "[_]",
        "(_)",
        "[_)",
        "()",
        "",
        "[",
        "[]",
        "(]",
        "[)",
        "(5:0)",
        "[5:0)",
        "(5:0]",
        "[20:0_20:0)",
        "(20:0_20:0]",
        "[22:0_21:0)",
        "[_20:0)",
        "_20:0)",
        "[20:0_",
        "[20:0_)",
        "01:0",
        "1:01",
        "1.5",
        "+1:0",
        "20:1000000000",
        "20:0-21:0",
        " 20:0",
        "20:0 ",
        "20:0\n",
        "[281474976710656:0]",
        "[-281474976710656:0]",
        "[20:0_281474976710656:0)",
        "20:0\u{0}",
        "[20:0_٢١:0)",
    ] {
        let answer = post(client, 1, segment("bad", bad)).await;
        assert_eq!(answer.status.as_u16(), 400, "{bad} {answer:?}");
        client.post(&path(1), &json!([segment("good", "[20:0_21:0)"), segment("bad", bad)])).await;
        client.delete(&format!("{}?timerange=[20:0_21:0)", path(1))).await.expect(204);
    }
    for bad in [json!(5), json!(null), json!(["[20:0_21:0)"]), json!({"start": "20:0"}), json!(true)] {
        post(client, 1, with(segment("bad", ""), json!({"timerange": bad}))).await.expect(400);
    }
    let mut after = client.everything().await;
    for flow in after["flows"].as_array_mut().unwrap().iter_mut().filter(|flow| flow["id"] == id(1)) {
        let old = before["flows"].as_array().unwrap().iter().find(|old| old["id"] == id(1)).unwrap();
        flow["segments_updated"] = old["segments_updated"].clone();
    }
    assert_eq!(after, before);
}

#[tokio::test]
async fn segments_of_a_flow_may_touch_but_not_overlap() {
    let app = with_flows().await;
    let client = &app.client;
    client.register(1, "o1", "[0:0_10:0)").await;
    client.register(1, "o2", "[10:0_20:0)").await;
    let refusal = post(client, 1, segment("o3", "[19:0_21:0)")).await.expect(400);
    assert_eq!(refusal.error_type(), "segment_overlap");
    let text = refusal.json["summary"].as_str().unwrap();
    assert!(text.contains("[19:0_21:0) overlaps [10:0_20:0)"), "{text}");
    assert_eq!(refusal.json["message"], refusal.json["summary"]);
    for inside in
        ["[0:0_10:0)", "[5:0]", "(5:0_6:0)", "[-1:0_0:0]", "[-1:0_100:0)", "[9:999999999_10:0)", "(19:0_20:0]"]
    {
        post(client, 1, segment("o3", inside)).await.expect(400);
    }
    client.get("/objects/o3").await.expect(404);
    for free in ["[20:0_21:0]", "(21:0_22:0)", "[-1:0_0:0)", "[100:0_101:0)", "[50:0]"] {
        client.register(1, &format!("o{free}"), free).await;
    }
    client.register(2, "o4", "[0:0_10:0]").await;
    post(client, 2, segment("o5", "[10:0_20:0)")).await.expect(400);
    client.register(2, "o5", "(10:0_20:0)").await;
    client.register(3, "o6", "[1:0_2:0)").await;
    client.register(3, "o7", "[2:0]").await;
}

#[tokio::test]
async fn the_same_registration_again_stands_and_a_different_one_does_not() {
    let app = with_flows().await;
    let client = &app.client;
    client.register(1, "o1", "[0:0_10:0)").await;
    let before = client.everything().await;
    client.register(1, "o1", "[0:0_10:0)").await;
    assert_eq!(client.everything().await, before);
    for change in [
        json!({"key_frame_count": 5}),
        json!({"last_duration": "0:1"}),
        json!({"ts_offset": "1:0"}),
        json!({"timerange": "[0:0_9:0)"}),
        json!({"get_urls": [{"url": "https://other/o1", "label": "other"}]}),
        json!({"object_timerange": "[0:0_11:0)"}),
    ] {
        post(client, 1, with(segment("o1", "[0:0_10:0)"), change)).await.expect(400);
    }
    assert_eq!(client.everything().await, before);
}

#[tokio::test]
async fn a_list_goes_on_after_a_failure_and_names_what_failed() {
    let app = with_flows().await;
    let client = &app.client;
    let list = json!([segment("o1", "[0:0_10:0)"), segment("o2", "[5:0_15:0)"), segment("o3", "[10:0_20:0)")]);
    let answer = client.post(&path(1), &list).await.expect(200);
    let failed = answer.json["failed_segments"].as_array().unwrap();
    assert_eq!(failed.len(), 1);
    assert_eq!((&failed[0]["object_id"], &failed[0]["timerange"]), (&json!("o2"), &json!("[5:0_15:0)")));
    let error = &failed[0]["error"];
    assert_eq!(error["type"], "segment_overlap");
    assert!(error["summary"].as_str().unwrap().contains("overlaps [0:0_10:0)"), "{error}");
    assert!(error["time"].as_str().unwrap().ends_with('Z'), "{error}");
    assert_eq!(client.get(&path(1)).await.texts("object_id"), ["o1", "o3"]);
    client.get("/objects/o2").await.expect(404);

    let one = client.post(&path(1), &json!([segment("o4", "[1:0]")])).await.expect(200);
    assert_eq!(one.json["failed_segments"].as_array().unwrap().len(), 1, "a list of one is a list");
    let all = client.post(&path(1), &json!([segment("o4", "[1:0]"), segment("o5", "[2:0]")])).await.expect(200);
    assert_eq!(all.json["failed_segments"].as_array().unwrap().len(), 2);
    assert_eq!(client.post(&path(1), &json!([])).await.expect(201).json, json!(null));
    let again = client
        .post(
            &path(1),
            &json!([segment("o6", "[30:0]"), {"object_id": "o6", "timerange": "[31:0]", "ts_offset": "1:0"}]),
        )
        .await;
    assert_eq!(again.expect(201).json, json!(null), "a later item may use the object of an earlier one");
}

#[tokio::test]
async fn an_item_that_breaks_the_schema_stops_the_whole_list() {
    let app = with_flows().await;
    let client = &app.client;
    for (bad, loc) in [
        (json!({"object_id": "o2"}), json!(["body", 1, "timerange"])),
        (json!({"timerange": "[1:0_2:0)"}), json!(["body", 1, "object_id"])),
        (json!([]), json!(["body", 1])),
        (json!(null), json!(["body", 1])),
        (json!("o2"), json!(["body", 1])),
        (with(segment("o2", "[1:0_2:0)"), json!({"object_id": 5})), json!(["body", 1, "object_id"])),
        (
            with(segment("o2", "[1:0_2:0)"), json!({"get_urls": [{"label": "x"}]})),
            json!(["body", 1, "get_urls", 0, "url"]),
        ),
        (segment("o2", "1-2"), json!(["body", 1, "timerange"])),
    ] {
        let list = json!([segment("o1", "[0:0_1:0)"), bad, segment("o3", "[2:0_3:0)")]);
        let answer = client.post(&path(1), &list).await.expect(400);
        assert_eq!(answer.json["message"][0]["loc"], loc, "{bad}");
    }
    assert_eq!(client.get(&path(1)).await.json, json!([]));
}

#[tokio::test]
async fn a_segment_that_breaks_the_schema_or_makes_no_sense_is_refused() {
    let app = with_flows().await;
    let client = &app.client;
    let long = "x".repeat(1025);
    for change in [
        json!({"object_id": ""}),
        json!({"object_id": null}),
        json!({"object_id": ["o1"]}),
        json!({"object_id": ".."}),
        json!({"object_id": "."}),
        json!({"object_id": "a\u{0}b"}),
        json!({"object_id": "a\nb"}),
        json!({"object_id": long}),
        json!({"ts_offset": 5}),
        json!({"ts_offset": null}),
        json!({"ts_offset": "1.5"}),
        json!({"ts_offset": "1:1000000000"}),
        json!({"ts_offset": "[1:0]"}),
        json!({"ts_offset": "281474976710656:0"}),
        json!({"ts_offset": "-281474976710655:0"}),
        json!({"object_timerange": "x"}),
        json!({"object_timerange": "_"}),
        json!({"object_timerange": "()"}),
        json!({"object_timerange": "[0:0_"}),
        json!({"object_timerange": "[0:0_0:5)"}),
        json!({"object_timerange": "[5:0_6:0)"}),
        json!({"last_duration": "-1:0"}),
        json!({"last_duration": "x"}),
        json!({"last_duration": 1}),
        json!({"sample_offset": "1"}),
        json!({"sample_count": 1.5}),
        json!({"sample_count": 1e300}),
        json!({"key_frame_count": -1}),
        json!({"key_frame_count": "1"}),
        json!({"key_frame_count": null}),
        json!({"init_object_id": 5}),
        json!({"init_object_id": ""}),
        json!({"get_urls": null}),
        json!({"get_urls": {}}),
        json!({"get_urls": []}),
        json!({"get_urls": ["https://cdn/x"]}),
        json!({"get_urls": [{"url": "https://cdn/y.ts"}]}),
        json!({"get_urls": [{"label": "cdn"}]}),
        json!({"get_urls": [{"url": 5, "label": "cdn"}]}),
        json!({"get_urls": [{"url": "https://cdn/x", "label": null}]}),
        json!({"get_urls": [{"url": "https://a", "label": "cdn"}, {"url": "https://b", "label": "cdn"}]}),
        json!({"get_urls": [{"url": "https://a", "label": "local"}]}),
        json!({"get_urls": [{"url": "", "label": "cdn"}]}),
        json!({"get_urls": [{"url": "a", "label": "cdn"}]}),
        json!({"get_urls": [{"url": "file:///etc/passwd", "label": "cdn"}]}),
        json!({"get_urls": [{"url": "javascript:alert(1)", "label": "cdn"}]}),
        json!({"get_urls": [{"url": "https://", "label": "cdn"}]}),
        json!({"get_urls": [{"url": "https://a b", "label": "cdn"}]}),
        json!({"get_urls": [{"url": "https://a\r\nX: y", "label": "cdn"}]}),
    ] {
        let answer = post(client, 1, with(segment("o1", "[0:0_1:0)"), change.clone())).await;
        assert_eq!(answer.status.as_u16(), 400, "{change} {answer:?}");
    }
    for bad in [json!({}), json!(null), json!("x"), json!(5), json!({"object_id": "o1", "timerange": "[0:0_1:0)"})] {
        post(client, 1, bad).await.expect(400);
    }
    assert_eq!(client.get(&path(1)).await.json, json!([]));
    client.get("/objects/o1").await.expect(404);
    client.put(&path(1), &segment("o1", "[0:0_1:0)")).await.expect(405);
    client.raw(reqwest::Method::PATCH, &path(1), None, "{}").await.expect(405);
}

#[tokio::test]
async fn a_flow_without_container_takes_no_segments() {
    let app = TestApp::start().await;
    let mut bare = video_flow(1, 7);
    bare.as_object_mut().unwrap().remove("container");
    app.client.make(&bare).await;
    assert_eq!(post(&app.client, 1, segment("o1", "[0:0_1:0)")).await.expect(400).error_type(), "no_container");
    app.client.post(&path(1), &json!([segment("o1", "[0:0_1:0)")])).await.expect(400);
}

#[tokio::test]
async fn fresh_storage_is_first_used_by_the_flow_it_was_made_for() {
    let app = with_flows().await;
    let client = &app.client;
    client.allocate(1, &["o1"]).await;
    let bare = json!({"object_id": "o1", "timerange": "[0:0_10:0)"});
    assert_eq!(post(client, 2, bare.clone()).await.expect(400).error_type(), "object_wrong_flow");
    client.get("/objects/o1").await.expect(404);
    client.head("/objects/o1").await.expect(404);
    post(client, 1, bare).await.expect(201);
    let shifted = json!({"object_id": "o1", "timerange": "[100:0_110:0)", "ts_offset": "100:0"});
    post(client, 2, shifted).await.expect(201);
    let object = client.get("/objects/o1").await.expect(200).json;
    assert_eq!(object["referenced_by_flows"], json!([id(1), id(2)]));
    assert_eq!(object["timerange"], "[0:0_10:0)");
    assert_eq!(
        post(client, 1, json!({"object_id": "never", "timerange": "[50:0]"})).await.expect(400).error_type(),
        "object_unknown"
    );
}

#[tokio::test]
async fn storage_that_expired_cannot_be_registered() {
    let clock = Clock::manual("2026-08-14T09:00:00Z".parse().unwrap(), 1);
    let app = TestApp::with(
        |config| {
            config.media.url_ttl.0 = Duration::from_secs(600);
            config.media.object_timeout.0 = Duration::from_secs(600);
        },
        clock.clone(),
    )
    .await;
    let client = &app.client;
    client.make(&video_flow(1, 7)).await;
    client.allocate(1, &["o1", "o2"]).await;
    clock.advance(Duration::from_secs(599));
    post(client, 1, json!({"object_id": "o1", "timerange": "[0:0_1:0)"})).await.expect(201);
    clock.advance(Duration::from_secs(1));
    post(client, 1, json!({"object_id": "o2", "timerange": "[1:0_2:0)"})).await.expect(400);
    // With a place of its own the id may be used, once the collector is through with it, or refused until then.
    clock.advance(Duration::from_secs(3600));
    assert_eq!(client.get(&path(1)).await.texts("object_id"), ["o1"], "what is registered stays");
    client.get("/objects/o1").await.expect(200);
}

#[tokio::test]
async fn an_object_is_as_its_first_segment_says_and_is_only_used_inside() {
    let app = with_flows().await;
    let client = &app.client;
    let first = with(segment("o1", "[0:0_10:0)"), json!({"key_frame_count": 4}));
    post(client, 1, first).await.expect(201);
    let reuse = |timerange: &str, offset: &str, change: Value| {
        with(json!({"object_id": "o1", "timerange": timerange, "ts_offset": offset}), change)
    };
    post(client, 2, reuse("[52:0_58:0)", "50:0", json!({}))).await.expect(201);
    let outside = post(client, 2, reuse("[58:0_61:0)", "50:0", json!({}))).await.expect(400);
    assert_eq!(outside.error_type(), "object_conflict");
    post(client, 2, reuse("[70:0_80:0]", "70:0", json!({}))).await.expect(400);
    post(client, 2, reuse("[70:0_80:0)", "70:0", json!({"object_timerange": "[0:0_10:0)"}))).await.expect(201);
    post(client, 2, reuse("[80:0_90:0)", "80:0", json!({"object_timerange": "[0:0_9:0)"}))).await.expect(400);
    post(client, 2, reuse("[80:0_90:0)", "80:0", json!({"key_frame_count": 5}))).await.expect(400);
    post(client, 2, reuse("[80:0_90:0)", "80:0", json!({"key_frame_count": 4}))).await.expect(201);
    let more = json!({"get_urls": [{"url": "https://more/o1", "label": "more"}]});
    post(client, 2, reuse("[90:0_100:0)", "90:0", more)).await.expect(400);
    post(client, 1, reuse("[-10:0_0:0)", "-10:0", json!({}))).await.expect(201);
    let object = client.get("/objects/o1").await.json;
    assert_eq!((&object["timerange"], &object["key_frame_count"]), (&json!("[0:0_10:0)"), &json!(4)));
    let counts = client.get(&path(2)).await.json;
    assert!(counts.as_array().unwrap().iter().all(|segment| segment["key_frame_count"] == 4), "{counts}");
    // Where none was given, none can be given later.
    client.register(1, "o2", "[200:0_201:0)").await;
    let late = json!({"object_id": "o2", "timerange": "[200:0_201:0)", "key_frame_count": 1});
    post(client, 2, late).await.expect(400);
}

#[tokio::test]
async fn an_object_may_hold_more_than_its_first_segment_uses() {
    let app = with_flows().await;
    let client = &app.client;
    let first = with(segment("o1", "[102:0_104:0)"), json!({"ts_offset": "100:0", "object_timerange": "[0:0_10:0)"}));
    post(client, 1, first).await.expect(201);
    assert_eq!(client.get("/objects/o1").await.json["timerange"], "[0:0_10:0)");
    post(client, 2, json!({"object_id": "o1", "timerange": "[8:0_10:0)"})).await.expect(201);
    let found = client.get(&format!("{}?include_object_timerange=true", path(1))).await.json;
    assert_eq!(found[0]["object_timerange"], "[0:0_10:0)");
    let outside = with(segment("o2", "[3:0_4:0)"), json!({"ts_offset": "-2:0", "object_timerange": "[3:0_4:0)"}));
    post(client, 1, outside).await.expect(400);
}

#[tokio::test]
async fn media_and_init_objects_keep_their_roles() {
    let app = with_init_flows().await;
    let client = &app.client;
    client.allocate(1, &["o1", "o2", "o3", "i1", "i2"]).await;
    client.allocate(2, &["p1", "j1"]).await;
    let with_init = |object: &str, init: &str, timerange: &str| json!({"object_id": object, "init_object_id": init, "timerange": timerange});
    let init_conflict = async |flow: u32, segment: Value| {
        let answer = post(client, flow, segment.clone()).await;
        assert_eq!((answer.status.as_u16(), answer.error_type()), (400, "init_conflict"), "{segment}");
    };
    post(client, 1, with_init("o1", "i1", "[0:0_10:0)")).await.expect(201);
    init_conflict(1, json!({"object_id": "o2", "timerange": "[10:0_20:0)"})).await;
    init_conflict(1, with_init("i1", "o1", "[20:0_30:0)")).await;
    init_conflict(1, with_init("i1", "i2", "[20:0_30:0)")).await;
    init_conflict(1, with_init("o2", "o1", "[20:0_30:0)")).await;
    init_conflict(1, with_init("o2", "o2", "[20:0_30:0)")).await;
    post(client, 1, with_init("o2", "never", "[20:0_30:0)")).await.expect(400);
    post(client, 1, with_init("o2", "j1", "[20:0_30:0)")).await.expect(400);
    client.get("/objects/j1").await.expect(404);
    client.get("/objects/o2").await.expect(404);
    post(client, 1, with_init("o2", "i1", "[20:0_30:0)")).await.expect(201);
    // Re-use: what is stored applies, the same may be said again, another may not.
    post(client, 2, json!({"object_id": "o1", "timerange": "[0:0_10:0)"})).await.expect(201);
    post(client, 2, with(with_init("o1", "i1", "[20:0_30:0)"), json!({"ts_offset": "20:0"}))).await.expect(201);
    init_conflict(2, with(with_init("o1", "i2", "[40:0_50:0)"), json!({"ts_offset": "40:0"}))).await;
    post(client, 2, with_init("p1", "i1", "[60:0_70:0)")).await.expect(201);
    // A Flow without init_segments takes none.
    init_conflict(3, with(segment("q1", "[0:0_1:0)"), json!({"init_object_id": "i1"}))).await;

    let found = client.get(&path(1)).await.json;
    for segment in found.as_array().unwrap() {
        assert_eq!(segment["init_object"]["object_id"], "i1");
        assert_eq!(segment["init_object"]["get_urls"].as_array().unwrap().len(), 1);
    }
    let hidden = client.get(&format!("{}?accept_get_urls=", path(1))).await.json;
    assert_eq!(hidden[0]["init_object"], json!({"object_id": "i1"}), "filters reach the init object");
    let media = client.get("/objects/o1").await.expect(200).json;
    assert_eq!((&media["init_object"]["id"], media["init_object"].get("object_id")), (&json!("i1"), None));
    assert_eq!(media["referenced_by_flows"], json!([id(1), id(2)]));
    let init = client.get("/objects/i1").await.expect(200).json;
    assert_eq!(init["referenced_by_flows"], json!([id(1), id(2)]));
    for absent in ["timerange", "init_object", "key_frame_count"] {
        assert!(init.get(absent).is_none(), "{absent}");
    }
    assert_eq!(client.get(&format!("{}?object_id=i1", path(1))).await.json, json!([]), "media objects only");
}

#[tokio::test]
async fn one_list_can_register_an_init_object_and_all_its_media() {
    let app = with_init_flows().await;
    let client = &app.client;
    client.allocate(1, &["o1", "o2", "i1"]).await;
    let list = json!([
        {"object_id": "o1", "init_object_id": "i1", "timerange": "[0:0_1:0)"},
        {"object_id": "o2", "init_object_id": "i1", "timerange": "[1:0_2:0)"},
        {"object_id": "i1", "init_object_id": "o1", "timerange": "[2:0_3:0)"},
    ]);
    let answer = client.post(&path(1), &list).await.expect(200);
    let failed = answer.json["failed_segments"].as_array().unwrap();
    assert_eq!((failed.len(), &failed[0]["object_id"]), (1, &json!("i1")));
    // Both are refused when the media object does not fit: the init object must not be left registered.
    client.allocate(1, &["o3", "i3"]).await;
    post(client, 1, json!({"object_id": "o3", "init_object_id": "i3", "timerange": "[1:0_3:0)"})).await.expect(400);
    client.get("/objects/i3").await.expect(404);
    client.get("/objects/o3").await.expect(404);
}
