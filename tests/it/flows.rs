//! Spec: GET_flows, GET_flows-flowId, PUT_flows-flowId, DELETE_flows-flowId, with HEAD

use std::time::Duration;

use serde_json::{Value, json};
use tamslake::clock::Clock;

use crate::helpers::{TestApp, audio_flow, data_flow, id, multi_flow, video_flow, with};

const START: &str = "2026-08-14T09:00:00Z";

fn path(flow: u32) -> String {
    format!("/flows/{}", id(flow))
}

async fn on_a_clock() -> (TestApp, Clock) {
    let clock = Clock::manual(START.parse().unwrap(), 1);
    (TestApp::with(|_| {}, clock.clone()).await, clock)
}

async fn make_one_a_second(app: &TestApp, clock: &Clock, flows: &[Value]) {
    for flow in flows {
        app.client.make(flow).await;
        clock.advance(Duration::from_secs(1));
    }
}

/// Numbers of the Flows, in order.
async fn found(app: &TestApp, query: &str) -> Vec<u32> {
    let answer = app.client.get(&format!("/flows?{query}")).await.expect(200);
    answer.texts("id").iter().map(|id| id[24..].parse().unwrap()).collect()
}

#[tokio::test]
async fn a_new_flow_is_answered_with_what_is_known_of_it_and_a_known_one_with_nothing() {
    let (app, clock) = on_a_clock().await;
    let flow = with(
        data_flow(1, 7),
        json!({"created": "1999-01-01T00:00:00Z", "metadata_updated": 5, "segments_updated": {"no": "date"},
               "timerange": "[0:0_9:0)", "collected_by": [id(2)], "unheard_of": [[]]}),
    );
    let created = app.client.put(&path(1), &flow).await.expect(201).json;
    let expected = with(
        data_flow(1, 7),
        json!({"created": START, "metadata_updated": START, "metadata_version": created["metadata_version"]}),
    );
    assert_eq!(created, expected);
    assert!(created["metadata_version"].is_string());
    assert_eq!(app.client.get(&path(1)).await.expect(200).json, expected);
    clock.advance(Duration::from_secs(1));
    let again = app.client.put(&path(1), &flow).await.expect(204);
    assert_eq!((again.json, again.headers.get("content-length")), (json!(null), None));
    let other = app.client.put(&path(1), &data_flow(2, 7)).await.expect(400);
    assert_eq!(other.json["message"][0]["loc"], json!(["body", "id"]));
}

#[tokio::test]
async fn a_put_replaces_everything_but_what_the_server_keeps() {
    let (app, clock) = on_a_clock().await;
    let full = with(
        video_flow(1, 7),
        json!({
            "label": "A", "description": "d", "tags": {"x": "1", "y": ["2", "3"]}, "generation": 0, "status": "ingesting",
            "avg_bit_rate": 5000, "max_bit_rate": 0, "segment_duration": {"numerator": 6}, "created_by": "alice",
            "updated_by": "bob", "metadata_version": "v1", "container_mapping": {"track_index": 1},
        }),
    );
    let created = app.client.make(&full).await;
    assert_eq!(created, with(full, json!({"created": START, "metadata_updated": START})));
    clock.advance(Duration::from_secs(1));
    app.client.put(&path(1), &video_flow(1, 7)).await.expect(204);
    let replaced = app.client.get(&path(1)).await.json;
    let version = replaced["metadata_version"].clone();
    assert_ne!(version, "v1");
    let expected = with(
        video_flow(1, 7),
        json!({"created": START, "created_by": "alice", "metadata_updated": "2026-08-14T09:00:01Z",
               "metadata_version": version}),
    );
    assert_eq!(replaced, expected);
    // What was read can be put again.
    app.client.put(&path(1), &replaced).await.expect(204);
    let mut again = app.client.get(&path(1)).await.json;
    again["metadata_version"] = version;
    assert_eq!(again, expected);
}

#[tokio::test]
async fn every_format_is_stored_as_it_was_sent() {
    let app = TestApp::start().await;
    let ratio = json!({"numerator": 16, "denominator": 9});
    for flow in [
        with(
            video_flow(1, 1),
            json!({"essence_parameters": {
                "frame_width": 1920, "frame_height": 1080, "vfr": true, "bit_depth": 10, "interlace_mode": "progressive",
                "colorspace": "BT709", "transfer_characteristic": "SDR", "aspect_ratio": ratio, "component_type": "YCbCr",
                "horiz_chroma_subs": 2, "vert_chroma_subs": 1, "unc_parameters": {"unc_type": "v210"},
                "avc_parameters": {"profile": 122, "level": 42, "flags": 0}, "init_segments": false,
            }}),
        ),
        with(audio_flow(2, 2), json!({"codec": "audio/mp4a-latm;rate=48000", "status": "awaiting_content"})),
        with(
            multi_flow(3, 3),
            json!({"codec": "video/x", "container": "video/mp2t", "essence_parameters": {"init_segments": true}}),
        ),
        multi_flow(4, 4),
        json!({"id": id(5), "source_id": id(5), "format": "urn:x-tam:format:image", "codec": "image/png",
               "essence_parameters": {"frame_width": 1, "frame_height": 1, "aspect_ratio": ratio}}),
        with(
            data_flow(6, 6),
            json!({"essence_parameters": {"data_type": "urn:x", "init_segments": true}, "read_only": true}),
        ),
    ] {
        let mut stored = app.client.make(&flow).await;
        for key in ["created", "metadata_updated", "metadata_version"] {
            assert!(stored.as_object_mut().unwrap().remove(key).is_some(), "{key}");
        }
        assert_eq!(stored, flow);
    }
    app.client.put(&format!("{}/label", path(6)), &json!("x")).await.expect(403);
}

#[tokio::test]
async fn a_flow_that_breaks_the_schema_is_refused_and_leaves_nothing() {
    let app = TestApp::start().await;
    let essence = |change: Value| {
        let essence = json!({"frame_width": 1, "frame_height": 1, "frame_rate": {"numerator": 25}});
        json!({"essence_parameters": with(essence, change)})
    };
    let without = |key: &str| {
        let mut flow = video_flow(1, 7);
        flow.as_object_mut().unwrap().remove(key).unwrap();
        flow
    };
    let mut bad = vec![json!([]), json!("x"), json!(null), json!({}), json!([video_flow(1, 7)])];
    for key in ["id", "source_id", "format", "codec", "essence_parameters"] {
        bad.push(without(key));
    }
    for change in [
        json!({"source_id": "x"}),
        json!({"source_id": id(7).replace('4', "6")}),
        json!({"source_id": "ABCDEF00-0000-4000-8000-000000000007"}),
        json!({"format": "video"}),
        json!({"format": "urn:x-nmos:format:VIDEO"}),
        json!({"codec": "h264"}),
        json!({"codec": "video/h 264"}),
        json!({"container": "a/b/c"}),
        json!({"label": null}),
        json!({"label": 5}),
        json!({"description": ["x"]}),
        json!({"read_only": null}),
        json!({"read_only": "true"}),
        json!({"generation": -1}),
        json!({"generation": 1.5}),
        json!({"status": "done"}),
        json!({"status": null}),
        json!({"tags": []}),
        json!({"tags": {"a": 1}}),
        json!({"tags": {"a": [1]}}),
        json!({"tags": {"a": null}}),
        json!({"avg_bit_rate": -1}),
        json!({"avg_bit_rate": "5000"}),
        json!({"max_bit_rate": 1e300}),
        json!({"segment_duration": {"numerator": 0}}),
        json!({"segment_duration": {"denominator": 1}}),
        json!({"segment_duration": 6}),
        json!({"segment_duration": {"numerator": 99_999_999_999_999_999_999_f64}}),
        json!({"container_mapping": {"track_index": -1}}),
        json!({"container_mapping": {"audio_track": {"channel_range": "x"}}}),
        json!({"flow_collection": {}}),
        json!({"flow_collection": [{}]}),
        json!({"flow_collection": [{"id": "x"}]}),
        json!({"flow_collection": [{"id": id(9)}]}),
        json!({"flow_collection": [{"id": id(1)}]}),
        json!({"flow_collection": null}),
        json!({"profile_id": id(3)}),
        json!({"profile_id": 5}),
        json!({"essence_parameters": []}),
        json!({"essence_parameters": null}),
        json!({"essence_parameters": [1920, 1080]}),
        json!({"essence_parameters": {"frame_width": 1, "frame_height": 1}}),
        essence(json!({"vfr": true})),
        essence(json!({"speed": 1})),
        essence(json!({"frame_width": 0})),
        essence(json!({"frame_width": -1})),
        essence(json!({"frame_width": "1"})),
        essence(json!({"frame_width": 1.5})),
        essence(json!({"frame_width": 4_294_967_296_u64})),
        essence(json!({"frame_width": null})),
        essence(json!({"frame_rate": {"numerator": 0}})),
        essence(json!({"frame_rate": {"numerator": 25, "denominator": 0}})),
        essence(json!({"frame_rate": [25, 1]})),
        essence(json!({"interlace_mode": "odd"})),
        essence(json!({"colorspace": {"BT709": null}})),
        essence(json!({"unc_parameters": {}})),
        essence(json!({"avc_parameters": {"profile": 122, "level": 42}})),
        essence(json!({"init_segments": 1})),
    ] {
        bad.push(with(video_flow(1, 7), change));
    }
    let image = json!({"id": id(1), "source_id": id(7), "format": "urn:x-tam:format:image", "codec": "image/png"});
    bad.push(image.clone());
    bad.push(with(image, json!({"essence_parameters": {"frame_width": 1, "frame_height": 1, "init_segments": true}})));
    bad.push(with(audio_flow(1, 7), json!({"essence_parameters": {"channels": 2}})));
    bad.push(with(audio_flow(1, 7), json!({"essence_parameters": {"sample_rate": 0, "channels": 2}})));
    bad.push(with(multi_flow(1, 7), json!({"essence_parameters": {"frame_width": 1}})));
    for flow in bad {
        let answer = app.client.put(&path(1), &flow).await;
        assert_eq!(answer.status.as_u16(), 400, "{flow} {answer:?}");
    }
    assert_eq!(app.client.get("/flows").await.json, json!([]));
    assert_eq!(app.client.get("/sources").await.json, json!([]));
}

#[tokio::test]
async fn formats_of_flow_and_source_must_agree_and_never_change() {
    let app = TestApp::start().await;
    let client = &app.client;
    client.make(&video_flow(1, 7)).await;
    let conflict = client.put(&path(2), &audio_flow(2, 7)).await.expect(400);
    assert_eq!(conflict.error_type(), "source_conflict");
    client.get(&path(2)).await.expect(404);
    client.put(&path(1), &audio_flow(1, 8)).await.expect(400);
    client.get(&format!("/sources/{}", id(8))).await.expect(404);
}

#[tokio::test]
async fn a_container_cannot_be_removed_while_segments_need_it() {
    let app = TestApp::start().await;
    let client = &app.client;
    client.make(&video_flow(1, 7)).await;
    let mut bare = video_flow(1, 7);
    bare.as_object_mut().unwrap().remove("container");
    client.put(&path(1), &bare).await.expect(204);
    client.put(&path(1), &video_flow(1, 7)).await.expect(204);
    client.register(1, "o1", "[0:0_1:0)").await;
    client.put(&path(1), &bare).await.expect(400);
    assert_eq!(client.get(&path(1)).await.json["container"], "video/mp2t");
}

#[tokio::test]
async fn a_deleted_flow_is_gone_with_its_segments_and_its_place_in_collections() {
    let app = TestApp::start().await;
    let client = &app.client;
    client.make(&video_flow(1, 7)).await;
    client.make(&with(multi_flow(2, 8), json!({"flow_collection": [{"id": id(1)}]}))).await;
    client.register(1, "o1", "[0:0_1:0)").await;
    client.delete(&path(1)).await.expect(204);
    client.get(&path(1)).await.expect(404);
    client.get("/objects/o1").await.expect(404);
    assert_eq!(client.get(&format!("{}/segments", path(1))).await.expect(200).json, json!([]));
    assert!(client.get(&path(2)).await.json.get("flow_collection").is_none());
    assert!(client.get(&format!("/sources/{}", id(8))).await.json.get("source_collection").is_none());
    client.delete(&path(1)).await.expect(404);
    // The id is free again, for anything.
    client.make(&audio_flow(1, 7)).await;
    assert_eq!(client.get(&format!("{}?include_timerange=true", path(1))).await.json["timerange"], "()");
}

#[tokio::test]
async fn the_extent_of_a_flow_is_that_of_whole_segments() {
    let app = TestApp::start().await;
    let client = &app.client;
    client.make(&video_flow(1, 7)).await;
    let extent = async |query: &str| {
        let answer = client.get(&format!("{}?{query}", path(1))).await.expect(200);
        answer.json.get("timerange").map(|timerange| timerange.as_str().unwrap().to_owned())
    };
    assert_eq!(extent("include_timerange=true").await.unwrap(), "()");
    for (object, timerange) in [("o1", "[0:0_10:0)"), ("o2", "[10:0_20:0)"), ("o3", "[30:0_40:0)")] {
        client.register(1, object, timerange).await;
    }
    assert_eq!(extent("").await, None);
    assert_eq!(extent("include_timerange=false").await, None);
    assert_eq!(extent("timerange=[5:0_12:0)").await, None);
    for (timerange, expected) in [
        ("_", "[0:0_40:0)"),
        ("[5:0_12:0)", "[0:0_20:0)"),
        ("[22:0_25:0)", "()"),
        ("()", "()"),
        ("[9:0_30:0]", "[0:0_40:0)"),
        ("_0:0)", "()"),
        ("_0:0]", "[0:0_10:0)"),
        ("[40:0_", "()"),
    ] {
        let query = format!("include_timerange=True&timerange={timerange}");
        assert_eq!(extent(&query).await.unwrap(), expected, "{timerange}");
    }
    assert_eq!(extent("include_timerange=true").await.unwrap(), "[0:0_40:0)");
    for bad in ["timerange=bad", "include_timerange=maybe", "include_timerange=", "timerange="] {
        client.get(&format!("{}?{bad}", path(1))).await.expect(400);
    }
    client.register(1, "o4", "[40:0]").await;
    assert_eq!(extent("include_timerange=true").await.unwrap(), "[0:0_40:0]", "the inclusive end is the later one");
}

#[tokio::test]
async fn the_timerange_filter_tells_flows_with_content_from_empty_ones() {
    let app = TestApp::start().await;
    let client = &app.client;
    client.make(&video_flow(1, 7)).await;
    client.make(&video_flow(2, 7)).await;
    client.register(1, "o1", "[0:0_10:0)").await;
    let newest_last = "sort_by=created&reverse_order=true";
    for (query, flows) in [
        ("", vec![1, 2]),
        ("timerange=_", vec![1]),
        ("timerange=()", vec![2]),
        ("timerange=[10:0_20:0)", vec![]),
        ("timerange=[9:999999999]", vec![1]),
        ("timerange=_0:0)", vec![]),
        ("timerange=%5B0%3A0_1%3A0%29", vec![1]),
    ] {
        assert_eq!(found(&app, &format!("{newest_last}&{query}")).await, flows, "{query}");
    }
    client.get("/flows?timerange=[1:0-2:0)").await.expect(400);
}

#[tokio::test]
async fn flows_are_sorted_newest_first_or_as_asked_with_unlabelled_ones_last() {
    let (app, clock) = on_a_clock().await;
    let flows = [
        with(video_flow(1, 7), json!({"label": "b"})),
        video_flow(2, 7),
        with(video_flow(3, 7), json!({"label": "a"})),
        video_flow(4, 7),
    ];
    make_one_a_second(&app, &clock, &flows).await;
    app.client.put(&format!("{}/description", path(2)), &json!("x")).await.expect(204);
    for (query, order) in [
        ("", [4, 3, 2, 1]),
        ("reverse_order=true", [1, 2, 3, 4]),
        ("sort_by=created", [4, 3, 2, 1]),
        ("sort_by=metadata_updated", [2, 4, 3, 1]),
        ("sort_by=metadata_updated&reverse_order=true", [1, 3, 4, 2]),
        ("sort_by=label", [3, 1, 2, 4]),
        ("sort_by=label&reverse_order=true", [4, 2, 1, 3]),
    ] {
        assert_eq!(found(&app, query).await, order, "{query}");
        // The same, item by item.
        let items = app.client.all(&format!("/flows?{query}&limit=1")).await;
        let paged: Vec<String> = items.iter().map(|flow| flow["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(paged, order.map(id), "{query}");
    }
    for bad in ["updated", "segments_updated", "", "label,created", "Label"] {
        app.client.get(&format!("/flows?sort_by={bad}")).await.expect(400);
    }
}

#[tokio::test]
async fn flows_are_found_by_what_they_are() {
    let (app, clock) = on_a_clock().await;
    let flows = [
        with(video_flow(1, 7), json!({"label": "x", "status": "ingesting"})),
        with(
            video_flow(2, 8),
            json!({"essence_parameters": {"frame_width": 1920, "frame_height": 1080, "vfr": true, "init_segments": true}}),
        ),
        with(audio_flow(3, 9), json!({"status": "closed_complete", "label": "x"})),
        json!({"id": id(4), "source_id": id(10), "format": "urn:x-tam:format:image", "codec": "image/png",
               "essence_parameters": {"frame_width": 1280, "frame_height": 720}}),
        with(multi_flow(5, 11), json!({"flow_collection": [{"id": id(1)}, {"id": id(3), "role": "commentary"}]})),
    ];
    make_one_a_second(&app, &clock, &flows).await;
    for (query, flows) in [
        (format!("source_id={}", id(7)), vec![1]),
        (format!("source_id={}", id(77)), vec![]),
        ("format=urn:x-nmos:format:video".into(), vec![2, 1]),
        ("format=urn:x-tam:format:image".into(), vec![4]),
        ("codec=video/h264".into(), vec![2, 1]),
        ("codec=video%2Fh264".into(), vec![2, 1]),
        ("codec=video/h265".into(), vec![]),
        ("label=x".into(), vec![3, 1]),
        ("label=x&format=urn:x-nmos:format:audio".into(), vec![3]),
        ("label=X".into(), vec![]),
        ("status=ingesting".into(), vec![1]),
        ("status=awaiting_content".into(), vec![]),
        ("frame_width=1280".into(), vec![1]),
        ("frame_height=1080&frame_width=1920".into(), vec![2]),
        ("init_segments=true".into(), vec![2]),
        ("init_segments=false".into(), vec![5, 4, 3, 1]),
        (format!("collected_by_ids={}", id(5)), vec![3, 1]),
        (format!("collected_by_ids={},{}", id(99), id(5)), vec![3, 1]),
        (format!("collected_by_ids={}%2C{}", id(99), id(5)), vec![3, 1]),
        ("collected_by_ids=".into(), vec![5, 4, 2]),
        (format!("collected_by_ids={}", id(99)), vec![]),
        (format!("profile_id={}", id(1)), vec![]),
        ("unheard=of".into(), vec![5, 4, 3, 2, 1]),
        ("limit=2".into(), vec![5, 4]),
    ] {
        assert_eq!(found(&app, &query).await, flows, "{query}");
    }
    for bad in [
        "source_id=x".into(),
        "source_id=".into(),
        "format=video".into(),
        "codec=h264".into(),
        "codec=foo/bar".into(),
        "status=done".into(),
        "frame_width=abc".into(),
        "frame_width=-1".into(),
        "frame_height=1.5".into(),
        "frame_height=99999999999999999999".into(),
        "init_segments=x".into(),
        format!("collected_by_ids={},", id(5)),
        "collected_by_ids=x".into(),
        "profile_id=x".into(),
    ] {
        let refused = app.client.get(&format!("/flows?{bad}")).await.expect(400);
        let key = bad.split('=').next().unwrap();
        assert_eq!(refused.json["message"][0]["loc"], json!(["query", key]), "{bad}");
        app.client.head(&format!("/flows?{bad}")).await.expect(400);
    }
}

#[tokio::test]
async fn tags_choose_flows_by_whole_values() {
    let (app, clock) = on_a_clock().await;
    let flows = [
        with(video_flow(1, 7), json!({"tags": {"genre": "news", "my tag": "", "a.b": "x", "é": "é,è"}})),
        with(video_flow(2, 7), json!({"tags": {"genre": ["sport", "news"], "lang": "en"}})),
        with(video_flow(3, 7), json!({"tags": {"genre": "newsroom", "plus": "a+b"}})),
    ];
    make_one_a_second(&app, &clock, &flows).await;
    for (query, flows) in [
        ("tag.genre=news", vec![2, 1]),
        ("tag.genre=sport,drama", vec![2]),
        ("tag.genre=sport%2Cdrama", vec![2]),
        ("tag.genre=news&tag.lang=en", vec![2]),
        ("tag.genre=sport&tag.genre=newsroom", vec![3, 2]),
        ("tag.genre=New", vec![]),
        ("tag.genre=NEWS", vec![]),
        ("tag.genre= news", vec![]),
        ("tag_exists.my%20tag=true", vec![1]),
        ("tag.my%20tag=", vec![1]),
        ("tag.genre=", vec![]),
        ("tag.a.b=x", vec![1]),
        ("tag_exists.a.b=false", vec![3, 2]),
        ("tag_exists.a.b=False", vec![3, 2]),
        ("tag.%C3%A9=%C3%A9%252C%C3%A8", vec![1]),
        ("tag.plus=a%2Bb", vec![3]),
        ("tag.plus=a+b", vec![]),
        ("tag_exists.lang=true&tag_exists.genre=false", vec![]),
    ] {
        let query = query.replace(' ', "%20");
        assert_eq!(found(&app, &query).await, flows, "{query}");
    }
    for bad in ["tag.genre=news,,x", "tag.genre=,", "tag_exists.a.b=perhaps", "tag_exists.a=", "tag_exists.a=1"] {
        app.client.get(&format!("/flows?{bad}")).await.expect(400);
    }
}

#[tokio::test]
async fn what_no_path_or_column_can_hold_is_refused() {
    let app = TestApp::start().await;
    for (key, value) in [
        ("max_bit_rate", json!(9_223_372_036_854_775_808_u64)),
        ("avg_bit_rate", json!(u64::MAX)),
        ("tags", json!({"": "x"})),
        ("tags", json!({"x".repeat(1_025): "x"})),
        ("tags", json!({"a\u{0}b": "x"})),
    ] {
        let mut flow = video_flow(1, 101);
        flow[key] = value;
        app.client.put(&format!("/flows/{}", id(1)), &flow).await.expect(400);
    }
    let mut flow = video_flow(1, 101);
    flow["max_bit_rate"] = json!(i64::MAX);
    app.client.put(&format!("/flows/{}", id(1)), &flow).await.expect(201);
}
