//! Requirements of `tests/matrix.csv` for profiles and for Flows that are linked to one.
//! Spec: GET_profiles, GET_profiles-profileId, POST_profiles-profileId

use reqwest::Method;
use serde_json::{Value, json};

use crate::helpers::{Client, TestApp, audio_flow, data_flow, id, video_flow, with};

fn path(profile: u32) -> String {
    format!("/service/profiles/{}", id(profile))
}

fn flow_path(flow: u32) -> String {
    format!("/flows/{}", id(flow))
}

/// The technical part of a Flow.
fn technical(mut flow: Value) -> Value {
    for key in ["id", "source_id"] {
        flow.as_object_mut().unwrap().remove(key);
    }
    flow
}

fn profile(number: u32, flow: Value) -> Value {
    json!({"id": id(number), "label": format!("p{number}"), "flow_metadata": technical(flow)})
}

/// Video 1, audio 2, data 3 and image 4.
async fn four() -> TestApp {
    let app = TestApp::start().await;
    let image = json!({"format": "urn:x-tam:format:image", "codec": "image/png",
                       "essence_parameters": {"frame_width": 1, "frame_height": 1}});
    let video = with(
        video_flow(1, 1),
        json!({"avg_bit_rate": 5000, "segment_duration": {"numerator": 6},
                                              "container_mapping": {"track_index": 1}}),
    );
    for profile in [
        with(profile(1, video), json!({"description": "d", "tags": {"a": "b", "c": ["d", "e"]}})),
        profile(2, audio_flow(1, 1)),
        profile(3, data_flow(1, 1)),
        json!({"id": id(4), "flow_metadata": image}),
    ] {
        let path = format!("/service/profiles/{}", profile["id"].as_str().unwrap());
        let made = app.client.post(&path, &profile).await.expect(201).json;
        assert!(made["created"].is_string());
        let mut plain = made.clone();
        plain.as_object_mut().unwrap().remove("created");
        assert_eq!(plain, profile);
        assert_eq!(app.client.get(&path).await.expect(200).json, made);
        app.client.head(&path).await.expect(200);
    }
    app
}

async fn found(client: &Client, query: &str) -> Vec<String> {
    client.head(&format!("/service/profiles?{query}")).await.expect(200);
    let mut ids = client.get(&format!("/service/profiles?{query}")).await.expect(200).texts("id");
    ids.sort();
    ids
}

#[tokio::test]
async fn profiles_are_found_by_what_they_describe() {
    let app = four().await;
    for (query, numbers) in [
        ("", vec![1, 2, 3, 4]),
        ("format=urn:x-nmos:format:video", vec![1]),
        ("format=urn:x-nmos:format:audio", vec![2]),
        ("format=urn:x-nmos:format:data", vec![3]),
        ("format=urn:x-tam:format:image", vec![4]),
        ("format=urn:x-nmos:format:multi", vec![]),
        ("codec=video/h264", vec![1]),
        ("codec=video/H264", vec![]),
        ("label=p2", vec![2]),
        ("label=p", vec![]),
        ("codec=video/h264&label=p1&format=urn:x-nmos:format:video", vec![1]),
        ("codec=video/h264&label=p2", vec![]),
        ("unheard=of", vec![1, 2, 3, 4]),
    ] {
        assert_eq!(found(&app.client, query).await, numbers.into_iter().map(id).collect::<Vec<_>>(), "{query}");
    }
    for bad in ["format=bogus", "format=", "codec=h264", "codec=video/h 264", "limit=x"] {
        app.client.get(&format!("/service/profiles?{bad}")).await.expect(400);
        app.client.head(&format!("/service/profiles?{bad}")).await.expect(400);
    }
    let order = app.client.get("/service/profiles").await.texts("id");
    assert_eq!(app.client.get("/service/profiles").await.texts("id"), order, "stable");
}

#[tokio::test]
async fn a_profile_is_made_once_and_never_changes() {
    let app = four().await;
    let client = &app.client;
    let before = client.get(&path(1)).await.json;
    for again in [profile(1, video_flow(1, 1)), profile(1, audio_flow(1, 1))] {
        client.post(&path(1), &again).await.expect(400);
    }
    for method in [Method::PUT, Method::DELETE, Method::PATCH] {
        client.raw(method, &path(1), Some("application/json"), "{}").await.expect(405);
    }
    assert_eq!(client.get(&path(1)).await.json, before);
    for unknown in [path(9), "/service/profiles/x".into()] {
        client.get(&unknown).await.expect(404);
        client.head(&unknown).await.expect(404);
    }
    client.post("/service/profiles/x", &profile(1, video_flow(1, 1))).await.expect(404);

    let mut lacking = Vec::new();
    for key in ["id", "flow_metadata"] {
        let mut bad = profile(9, video_flow(1, 1));
        bad.as_object_mut().unwrap().remove(key);
        lacking.push(bad);
    }
    for key in ["format", "codec", "essence_parameters"] {
        let mut bad = profile(9, video_flow(1, 1));
        bad["flow_metadata"].as_object_mut().unwrap().remove(key);
        lacking.push(bad);
    }
    let mut no_rate = profile(9, video_flow(1, 1));
    no_rate["flow_metadata"]["essence_parameters"].as_object_mut().unwrap().remove("frame_rate");
    lacking.extend([
        no_rate,
        json!({"id": id(9), "flow_metadata": {"format": "urn:x-nmos:format:multi"}}),
        profile(8, video_flow(1, 1)),
        with(profile(9, video_flow(1, 1)), json!({"tags": {"a": 5}})),
        with(profile(9, video_flow(1, 1)), json!({"label": null})),
    ]);
    for bad in lacking {
        client.post(&path(9), &bad).await.expect(400);
    }
    client.get(&path(9)).await.expect(404);
    // The server knows when it was made. What is not technical does not belong into the metadata.
    let own = with(profile(9, video_flow(1, 1)), json!({"created": "1999-01-01T00:00:00Z", "unheard": 1}));
    let made = client.post(&path(9), &own).await.expect(201).json;
    assert_ne!(made["created"], "1999-01-01T00:00:00Z");
    assert!(made.get("unheard").is_none());
    let mut odd = profile(10, video_flow(1, 1));
    odd["flow_metadata"]["label"] = json!("x");
    let answer = client.post(&path(10), &odd).await;
    assert!(answer.status == 400 || answer.json["flow_metadata"].get("label").is_none(), "{answer:?}");
}

#[tokio::test]
async fn a_flow_takes_its_technical_part_from_its_profile() {
    let app = four().await;
    let client = &app.client;
    let flow = json!({"id": id(1), "source_id": id(7), "label": "mine", "profile_id": id(1), "max_bit_rate": 9000});
    let made = client.put(&flow_path(1), &flow).await.expect(201).json;
    let profile = client.get(&path(1)).await.json;
    for (key, value) in profile["flow_metadata"].as_object().unwrap() {
        assert_eq!(&made[key], value, "{key}");
    }
    assert_eq!(
        (&made["label"], &made["profile_id"], &made["max_bit_rate"]),
        (&json!("mine"), &json!(id(1)), &json!(9000))
    );
    for copied in ["description", "tags"] {
        assert!(made.get(copied).is_none(), "{copied} is the profile's own");
    }
    assert_eq!(client.get(&format!("{}/avg_bit_rate", flow_path(1))).await.expect(200).json, json!(5000));
    client.put(&format!("{}/avg_bit_rate", flow_path(1)), &json!(1)).await.expect(400);
    client.delete(&format!("{}/avg_bit_rate", flow_path(1))).await.expect(400);
    client.put(&format!("{}/max_bit_rate", flow_path(1)), &json!(1)).await.expect(204);

    client.make(&video_flow(2, 7)).await;
    for (query, flows) in [
        (format!("profile_id={}", id(1)), vec![id(1)]),
        (format!("profile_id={}", id(99)), vec![]),
        ("codec=video/h264&frame_width=1280".into(), vec![id(2), id(1)]),
    ] {
        assert_eq!(client.get(&format!("/flows?{query}")).await.expect(200).texts("id"), flows, "{query}");
    }

    // One technical field beside the link is one too many.
    for (key, value) in profile["flow_metadata"].as_object().unwrap() {
        let mut bad = flow.clone();
        bad[key] = value.clone();
        client.put(&flow_path(1), &bad).await.expect(400);
        client.put(&flow_path(3), &with(bad, json!({"id": id(3)}))).await.expect(400);
    }
    for wrong in [id(99), "x".into(), String::new()] {
        let bad = with(flow.clone(), json!({"id": id(3), "profile_id": wrong}));
        client.put(&flow_path(3), &bad).await.expect(400);
    }
    let audio = json!({"id": id(3), "source_id": id(7), "profile_id": id(2)});
    client.put(&flow_path(3), &audio).await.expect(400);
    client.get(&flow_path(3)).await.expect(404);

    // The link stays while it is sent along.
    client.put(&flow_path(1), &with(flow, json!({"label": "new", "tags": {"x": "y"}}))).await.expect(204);
    let now = client.get(&flow_path(1)).await.json;
    assert_eq!(
        (&now["label"], &now["profile_id"], &now["codec"]),
        (&json!("new"), &json!(id(1)), &json!("video/h264"))
    );
}

#[tokio::test]
async fn a_flow_is_unlinked_by_an_empty_id_or_a_technical_part_of_its_own() {
    let app = four().await;
    let client = &app.client;
    let linked = json!({"id": id(1), "source_id": id(7), "profile_id": id(1)});
    for own in [
        with(video_flow(1, 7), json!({"profile_id": "", "codec": "video/h265"})),
        with(video_flow(1, 7), json!({"codec": "video/h265"})),
    ] {
        client.put(&flow_path(1), &linked).await;
        assert_eq!(client.get(&flow_path(1)).await.expect(200).json["profile_id"], id(1));
        for bad in [json!({"profile_id": ""}), json!({"label": "x"})] {
            client.put(&flow_path(1), &with(json!({"id": id(1), "source_id": id(7)}), bad)).await.expect(400);
        }
        client.put(&flow_path(1), &own).await.expect(204);
        let now = client.get(&flow_path(1)).await.json;
        assert_eq!((now.get("profile_id"), &now["codec"], now.get("avg_bit_rate")), (None, &json!("video/h265"), None));
        assert_eq!(client.get(&format!("/flows?profile_id={}", id(1))).await.json, json!([]));
    }
    // From one profile to another of the same format.
    client.post(&path(5), &profile(5, with(video_flow(1, 1), json!({"codec": "video/av1"})))).await.expect(201);
    client.put(&flow_path(1), &linked).await.expect(204);
    client.put(&flow_path(1), &with(linked, json!({"profile_id": id(5)}))).await.expect(204);
    assert_eq!(client.get(&flow_path(1)).await.json["codec"], "video/av1");
    let fresh = with(video_flow(2, 7), json!({"profile_id": ""}));
    assert!(client.put(&flow_path(2), &fresh).await.expect(201).json.get("profile_id").is_none());
}
