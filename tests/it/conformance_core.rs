//! Requirements of `tests/matrix.csv` that no other test proves: what all resources have in common.

use reqwest::Method;
use serde_json::{Value, json};

use crate::helpers::{Client, Sse, TestApp, audio_flow, data_flow, id, multi_flow, segment, video_flow, with};

#[tokio::test]
async fn essence_parameters_know_no_other_keys_in_any_format() {
    let app = TestApp::start().await;
    let image = json!({"id": id(1), "source_id": id(7), "format": "urn:x-tam:format:image", "codec": "image/png",
                       "essence_parameters": {"frame_width": 1, "frame_height": 1}});
    let multi = with(multi_flow(1, 7), json!({"essence_parameters": {}}));
    for flow in [video_flow(1, 7), audio_flow(1, 7), data_flow(1, 7), image, multi] {
        let mut odd = flow.clone();
        odd["essence_parameters"]["unheard_of"] = json!(1);
        app.client.put(&format!("/flows/{}", id(1)), &odd).await.expect(400);
        app.client.put(&format!("/flows/{}", id(1)), &flow).await.expect(201);
        app.client.delete(&format!("/flows/{}", id(1))).await.expect(204);
    }
}

#[tokio::test]
async fn what_is_not_there_is_said_before_what_is_wrong_with_the_body() {
    let app = TestApp::start().await;
    let client = &app.client;
    client.make(&with(video_flow(1, 7), json!({"read_only": true}))).await;
    let bad = json!({"id": 5});
    for (method, path) in [
        (Method::PUT, "/flows/{}/label"),
        (Method::PUT, "/flows/{}/tags/a"),
        (Method::PUT, "/flows/{}/flow_collection"),
        (Method::POST, "/flows/{}/segments"),
        (Method::POST, "/flows/{}/storage"),
    ] {
        let send = async |flow: &str| {
            client.raw(method.clone(), &path.replace("{}", flow), Some("application/json"), bad.to_string()).await
        };
        send("not-an-id").await.expect(404);
        send(&id(99)).await.expect(404);
        send(&id(1)).await.expect(403);
    }
    let raw = async |method, path: String| client.raw(method, &path, Some("application/json"), bad.to_string()).await;
    raw(Method::PUT, format!("/flows/{}", id(1))).await.expect(403);
    raw(Method::PUT, format!("/flows/{}", id(99))).await.expect(400);
    raw(Method::PUT, format!("/flows/{}/read_only", id(1))).await.expect(400);
    raw(Method::PUT, format!("/sources/{}/label", id(99))).await.expect(404);
    raw(Method::PUT, format!("/sources/{}/label", id(7))).await.expect(400);
    raw(Method::POST, "/objects/none/instances".into()).await.expect(404);
    raw(Method::PUT, format!("/v7.0/flows/{}/label", id(99))).await.expect(404);
    client.delete(&format!("/flows/{}/segments?timerange=x", id(99))).await.expect(404);
    client.delete(&format!("/flows/{}/segments?timerange=x", id(1))).await.expect(403);
    let good = json!("x");
    client.put(&format!("/flows/{}/label", id(99)), &good).await.expect(404);
    client.put(&format!("/flows/{}/label", id(1)), &good).await.expect(403);
}

#[tokio::test]
async fn a_new_flow_may_be_locked_from_the_start_and_is_read_as_any_other() {
    let app = TestApp::start().await;
    let client = &app.client;
    let flow = with(video_flow(1, 7), json!({"read_only": true}));
    assert_eq!(client.make(&flow).await["read_only"], true);
    client.make(&video_flow(2, 7)).await;
    client.put(&format!("/flows/{}", id(1)), &flow).await.expect(403);
    client.register(2, "o2", "[0:0_1:0)").await;
    client.put(&format!("/flows/{}/read_only", id(2)), &json!(true)).await.expect(204);
    assert_eq!(client.get("/flows").await.expect(200).json.as_array().unwrap().len(), 2);
    assert_eq!(client.get(&format!("/flows/{}/segments", id(2))).await.expect(200).texts("object_id"), ["o2"]);
    client.get("/objects/o2").await.expect(200);
    assert_eq!(
        client.get(&format!("/flows/{}?include_timerange=true", id(2))).await.expect(200).json["timerange"],
        "[0:0_1:0)"
    );
    client.put(&format!("/flows/{}/read_only", id(1)), &json!(false)).await.expect(204);
    client.put(&format!("/flows/{}", id(1)), &flow).await.expect(204);
}

/// Keys of a JSON value, however deep.
fn keys(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            found.extend(map.keys().cloned());
            map.values().for_each(|value| keys(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| keys(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn no_answer_tells_size_or_checksum_of_media() {
    let app = TestApp::start().await;
    let client = &app.client;
    client.make(&video_flow(1, 7)).await;
    let url = client.allocate(1, &["o1"]).await;
    client.http.put(&url[0]).body("some bytes").send().await.unwrap().error_for_status().unwrap();
    let path = format!("/flows/{}/segments", id(1));
    client.post(&path, &json!({"object_id": "o1", "timerange": "[0:0_1:0)"})).await.expect(201);
    let mut found = Vec::new();
    for path in [format!("{path}?verbose_storage=true"), "/objects/o1?verbose_storage=true".into()] {
        keys(&client.get(&path).await.expect(200).json, &mut found);
    }
    for word in ["size", "length", "checksum", "md5", "sha256", "etag"] {
        assert!(found.iter().all(|key| !key.contains(word)), "{word}: {found:?}");
    }
}

/// A property of Flows and Sources is read by HEAD as by GET, and removing what is not set is no failure.
#[tokio::test]
async fn properties_can_be_asked_for_and_removed_whether_set_or_not() {
    let app = TestApp::start().await;
    let client = &app.client;
    client.make(&video_flow(1, 7)).await;
    let flow = format!("/flows/{}", id(1));
    let source = format!("/sources/{}", id(7));
    for (of, property, value) in [
        (&flow, "label", json!("")),
        (&flow, "description", json!("")),
        (&flow, "max_bit_rate", json!(0)),
        (&flow, "avg_bit_rate", json!(0)),
        (&source, "label", json!("")),
        (&source, "description", json!("")),
    ] {
        let path = format!("{of}/{property}");
        client.delete(&path).await.expect(204);
        assert_eq!(client.get(&path).await.expect(200).json, json!(null), "{path}");
        client.head(&path).await.expect(200);
        client.put(&path, &value).await.expect(204);
        assert_eq!(client.get(&path).await.expect(200).json, value, "{path}: empty is not unset");
        client.head(&path).await.expect(200);
        client.delete(&path).await.expect(204);
        client.delete(&path).await.expect(204);
    }
    for (of, name) in [(&flow, "empty"), (&source, "empty")] {
        for value in [json!(""), json!([])] {
            client.put(&format!("{of}/tags/{name}"), &value).await.expect(204);
            assert_eq!(client.get(of).await.expect(200).json["tags"][name], value, "{of}");
        }
        client.put(&format!("{of}/tags/other"), &json!(["b", "a"])).await.expect(204);
        client.delete(&format!("{of}/tags/{name}")).await.expect(204);
        client.head(&format!("{of}/tags/other")).await.expect(200);
        client.head(&format!("{of}/tags/{name}")).await.expect(404);
        assert_eq!(client.get(&format!("{of}/tags")).await.expect(200).json, json!({"other": ["b", "a"]}), "in order");
    }
    for unknown in [format!("/sources/{}", id(8)), format!("/flows/{}", id(8))] {
        for property in ["tags", "tags/a", "label", "description"] {
            client.get(&format!("{unknown}/{property}")).await.expect(404);
            client.head(&format!("{unknown}/{property}")).await.expect(404);
        }
        for property in ["tags/a", "label", "description"] {
            client.put(&format!("{unknown}/{property}"), &json!("x")).await.expect(404);
            client.delete(&format!("{unknown}/{property}")).await.expect(404);
        }
    }
    client.delete(&format!("{flow}/read_only")).await.expect(405);
}

async fn derived(client: &Client, path: &str) -> Value {
    client.get(path).await.expect(200).json["collected_by"].clone()
}

#[tokio::test]
async fn a_deleted_collector_sets_its_members_free_and_keeps_them() {
    let app = TestApp::start().await;
    let client = &app.client;
    client.make(&video_flow(1, 1)).await;
    client.make(&with(multi_flow(2, 2), json!({"flow_collection": [{"id": id(1)}]}))).await;
    assert_eq!(derived(client, &format!("/flows/{}", id(1))).await, json!([id(2)]));
    client.delete(&format!("/flows/{}", id(2))).await.expect(204);
    assert_eq!(derived(client, &format!("/flows/{}", id(1))).await, json!(null));
    assert_eq!(derived(client, &format!("/sources/{}", id(1))).await, json!(null));
    client.get(&format!("/sources/{}", id(2))).await.expect(404);
    // A multi Flow has the extent of its own segments, not of its members'.
    client.make(&with(multi_flow(3, 3), json!({"flow_collection": [{"id": id(1)}]}))).await;
    client.register(1, "o1", "[0:0_1:0)").await;
    let multi = client.get(&format!("/flows/{}?include_timerange=true", id(3))).await.expect(200).json;
    assert_eq!(multi["timerange"], "()");
}

#[tokio::test]
async fn segments_may_leave_gaps_come_in_any_order_and_share_an_object() {
    let app = TestApp::start().await;
    let client = &app.client;
    client.make(&video_flow(1, 7)).await;
    let path = format!("/flows/{}/segments", id(1));
    client.register(1, "late", "[100:0_101:0)").await;
    client.register(1, "early", "[-5:0_-4:0)").await;
    let list = json!([segment("a", "[10:0_11:0)"), segment("b", "[20:0_21:0)")]);
    assert_eq!(client.post(&path, &list).await.expect(201).json, json!(null));
    for (timerange, offset) in [("[30:0_31:0)", "20:0"), ("[40:0_40:500000000)", "30:0"), ("[-10:0_-9:0)", "-20:0")] {
        let again = json!({"object_id": "a", "timerange": timerange, "ts_offset": offset});
        client.post(&path, &again).await.expect(201);
    }
    assert_eq!(client.get(&path).await.texts("object_id"), ["a", "early", "a", "b", "a", "a", "late"]);
    assert_eq!(client.get("/objects/a").await.json["referenced_by_flows"], json!([id(1)]), "once");
}

#[tokio::test]
async fn profiles_webhooks_and_instances_tell_nothing() {
    let app = TestApp::start().await;
    let client = &app.client;
    client.make(&video_flow(1, 1)).await;
    client.register(1, "o1", "[0:0_1:0)").await;
    let mut stream = Sse::open(client, "", None).await;
    let metadata = json!({"format": "urn:x-nmos:format:data", "codec": "a/b", "essence_parameters": {}});
    let profile = json!({"id": id(3), "flow_metadata": metadata});
    client.post(&format!("/service/profiles/{}", id(3)), &profile).await.expect(201);
    let hook = json!({"url": "https://hook.example.com", "events": ["flows/deleted"]});
    let hook = client.post("/service/webhooks", &hook).await.expect(201).json;
    client.delete(&format!("/service/webhooks/{}", hook["id"].as_str().unwrap())).await.expect(204);
    let instances = "/objects/o1/instances";
    client.post(instances, &json!({"url": "https://other.example/o1", "label": "other"})).await.expect(201);
    client.delete(&format!("{instances}?label=other")).await.expect(204);
    client.put(&format!("/flows/{}/label", id(1)), &json!("end")).await.expect(204);
    let told = stream.until(|told| told.json["event"]["flow"]["label"] == "end").await;
    assert_eq!(told.len(), 1, "{told:?}");
}
