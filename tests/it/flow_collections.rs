//! Spec: GET_flows-flowId-flow-collection, PUT_flows-flowId-flow-collection, DELETE_flows-flowId-flow-collection

use serde_json::{Value, json};

use crate::helpers::{Client, TestApp, audio_flow, id, multi_flow, video_flow, with};

fn collection(flow: u32) -> String {
    format!("/flows/{}/flow_collection", id(flow))
}

async fn derived(client: &Client, path: String, key: &str) -> Value {
    client.get(&path).await.expect(200).json.get(key).cloned().unwrap_or_default()
}

/// Video 1, audio 2 and multi 3, each with the Source of its number.
async fn three() -> TestApp {
    let app = TestApp::start().await;
    for flow in [video_flow(1, 1), audio_flow(2, 2), multi_flow(3, 3)] {
        app.client.make(&flow).await;
    }
    app
}

#[tokio::test]
async fn three_read_only_fields_follow_from_a_collection() {
    let app = three().await;
    let client = &app.client;
    assert_eq!(client.get(&collection(3)).await.expect(200).json, json!([]));
    let members = json!([{"id": id(2)}, {"id": id(1), "role": "commentary", "container_mapping": {"track_index": 1}}, {"id": id(2), "role": "music"}]);
    client.put(&collection(3), &members).await.expect(204);
    assert_eq!(client.get(&collection(3)).await.expect(200).json, members, "in the order given");
    assert_eq!(client.get(&format!("/flows/{}", id(3))).await.json["flow_collection"], members);
    for member in [1, 2] {
        assert_eq!(derived(client, format!("/flows/{}", id(member)), "collected_by").await, json!([id(3)]));
        assert_eq!(derived(client, format!("/sources/{}", id(member)), "collected_by").await, json!([id(3)]));
    }
    let sources = json!([{"id": id(2)}, {"id": id(1), "role": "commentary"}, {"id": id(2), "role": "music"}]);
    assert_eq!(derived(client, format!("/sources/{}", id(3)), "source_collection").await, sources);
    assert_eq!(derived(client, format!("/flows/{}", id(3)), "collected_by").await, json!(null));

    client.delete(&collection(3)).await.expect(204);
    for number in [1, 2, 3] {
        for key in ["collected_by", "flow_collection", "source_collection"] {
            assert_eq!(derived(client, format!("/flows/{}", id(number)), key).await, json!(null));
            assert_eq!(derived(client, format!("/sources/{}", id(number)), key).await, json!(null));
        }
    }
    client.delete(&collection(3)).await.expect(204);
}

#[tokio::test]
async fn a_collection_has_only_flows_that_are_there_and_no_cycle() {
    let app = three().await;
    let client = &app.client;
    client.make(&multi_flow(4, 4)).await;
    client.make(&video_flow(5, 15)).await;
    client.put(&collection(3), &json!([{"id": id(1)}])).await.expect(204);
    client.put(&collection(4), &json!([{"id": id(3)}])).await.expect(204);
    let before = client.everything().await;
    for (flow, members) in [
        (3, json!([{"id": id(99)}])),
        (3, json!([{"id": id(1)}, {"id": id(99)}])),
        (3, json!([{"id": id(15)}])),
        (3, json!([{"id": id(3)}])),
        (3, json!([{"id": id(4)}])),
        (1, json!([{"id": id(4)}])),
        (3, json!({"id": id(1)})),
        (3, json!([{}])),
        (3, json!([{"id": "x"}])),
        (3, json!([{"id": id(1), "role": 5}])),
        (3, json!([{"id": id(1), "role": null}])),
        (3, json!([{"id": id(1), "container_mapping": []}])),
        (3, json!([{"id": id(1), "container_mapping": {"track_index": -1}}])),
        (3, json!([id(1)])),
        (3, json!([[id(1)]])),
        (3, json!(null)),
    ] {
        let answer = client.put(&collection(flow), &members).await;
        assert_eq!(answer.status.as_u16(), 400, "{members} {answer:?}");
    }
    let cycle = with(multi_flow(3, 3), json!({"flow_collection": [{"id": id(4)}]}));
    assert_eq!(client.put(&format!("/flows/{}", id(3)), &cycle).await.expect(400).error_type(), "collection_invalid");
    assert_eq!(client.everything().await, before);
    // Unknown keys of an item are dropped.
    client.put(&collection(3), &json!([{"id": id(2), "priority": 1}])).await.expect(204);
    assert_eq!(client.get(&collection(3)).await.json, json!([{"id": id(2)}]));
    client.put(&collection(3), &json!([])).await.expect(204);
    assert!(client.get(&format!("/flows/{}", id(3))).await.json.get("flow_collection").is_none());
}

#[tokio::test]
async fn a_collection_follows_what_becomes_of_its_flows() {
    let app = three().await;
    let client = &app.client;
    client.make(&video_flow(4, 4)).await;
    client.put(&collection(3), &json!([{"id": id(1)}, {"id": id(4)}, {"id": id(2)}])).await.expect(204);
    // A read-only member is collected all the same, and a read-only collector loses what is deleted.
    client.put(&format!("/flows/{}/read_only", id(2)), &json!(true)).await.expect(204);
    client.put(&format!("/flows/{}/read_only", id(3)), &json!(true)).await.expect(204);
    client.delete(&format!("/flows/{}", id(4))).await.expect(204);
    assert_eq!(client.get(&collection(3)).await.json, json!([{"id": id(1)}, {"id": id(2)}]));
    // A member that moves takes its place on the Sources along.
    client.put(&format!("/flows/{}", id(1)), &video_flow(1, 11)).await.expect(204);
    let members = derived(client, format!("/sources/{}", id(3)), "source_collection").await;
    assert_eq!(members, json!([{"id": id(11)}, {"id": id(2)}]));
    assert_eq!(derived(client, format!("/sources/{}", id(11)), "collected_by").await, json!([id(3)]));
    client.put(&format!("/flows/{}/read_only", id(3)), &json!(false)).await.expect(204);
    client.delete(&format!("/flows/{}", id(3))).await.expect(204);
    assert_eq!(derived(client, format!("/flows/{}", id(2)), "collected_by").await, json!(null));
    assert_eq!(derived(client, format!("/sources/{}", id(11)), "collected_by").await, json!(null));
}

#[tokio::test]
async fn a_source_shows_the_collections_of_all_its_flows_once() {
    let app = three().await;
    let client = &app.client;
    client.make(&multi_flow(4, 3)).await;
    client.make(&audio_flow(5, 5)).await;
    client.put(&collection(3), &json!([{"id": id(1), "role": "v"}, {"id": id(2)}])).await.expect(204);
    client.put(&collection(4), &json!([{"id": id(1), "role": "v"}, {"id": id(5)}])).await.expect(204);
    let members = derived(client, format!("/sources/{}", id(3)), "source_collection").await;
    let mut members = members.as_array().unwrap().clone();
    members.sort_by_key(|member| member["id"].as_str().unwrap().to_owned());
    let expected = [json!({"id": id(1), "role": "v"}), json!({"id": id(2)}), json!({"id": id(5)})];
    assert_eq!(members, expected);
}

#[tokio::test]
async fn two_flows_of_a_source_cannot_contradict_each_other_in_role_or_order() {
    let app = three().await;
    let client = &app.client;
    client.make(&multi_flow(4, 3)).await;
    client.put(&collection(3), &json!([{"id": id(1), "role": "v"}, {"id": id(2), "role": "a"}])).await.expect(204);
    client.put(&collection(4), &json!([{"id": id(1), "role": "other"}])).await.expect(400);
    client.put(&collection(4), &json!([{"id": id(2), "role": "a"}, {"id": id(1), "role": "v"}])).await.expect(400);
    let flow = with(multi_flow(5, 3), json!({"flow_collection": [{"id": id(2), "role": "b"}]}));
    client.put(&format!("/flows/{}", id(5)), &flow).await.expect(400);
    client.put(&collection(4), &json!([{"id": id(1), "role": "v"}, {"id": id(2), "role": "a"}])).await.expect(204);
    // Alone, a Flow may say something new.
    client.delete(&collection(4)).await.expect(204);
    client.put(&collection(3), &json!([{"id": id(2), "role": "b"}, {"id": id(1), "role": "v"}])).await.expect(204);
}
