//! Order, paging and races of profiles; what a restart keeps of them. The rules are in `conformance_profiles`.
//! Spec: GET_profiles, HEAD_profiles, GET_profiles-profileId, HEAD_profiles-profileId, POST_profiles-profileId

use std::time::Duration;

use serde_json::{Value, json};
use tamslake::clock::Clock;

use crate::helpers::{TestApp, id};

fn path(profile: u32) -> String {
    format!("/service/profiles/{}", id(profile))
}

fn profile(number: u32) -> Value {
    json!({
        "id": id(number), "label": format!("p{number}"), "tags": {"a": ["b"]}, "created_by": "somebody",
        "flow_metadata": {
            "format": "urn:x-nmos:format:audio", "codec": "audio/aac", "container": "video/mp2t", "avg_bit_rate": 128,
            "segment_duration": {"numerator": 2}, "container_mapping": {"track_index": 1},
            "essence_parameters": {"sample_rate": 48000, "channels": 2},
        },
    })
}

#[tokio::test]
async fn profiles_run_from_newest_to_oldest_then_by_id() {
    let clock = Clock::manual("2026-11-24T09:00:00Z".parse().unwrap(), 7);
    let app = TestApp::with(|_| {}, clock.clone()).await;
    let client = &app.client;
    for (number, pause) in [(1, 1), (4, 0), (3, 1), (2, 0)] {
        client.post(&path(number), &profile(number)).await.expect(201);
        clock.advance(Duration::from_secs(pause));
    }
    let wanted: Vec<String> = [2, 3, 4, 1].map(id).to_vec();
    assert_eq!(client.get("/service/profiles").await.expect(200).texts("id"), wanted);
    for ignored in ["reverse_order=true", "sort_by=label", "tag.a=x", "unheard=of"] {
        let answer = client.get(&format!("/service/profiles?{ignored}")).await.expect(200);
        assert_eq!(answer.texts("id"), wanted, "{ignored}");
        assert_eq!(answer.header("x-paging-reverse-order"), Some("false"));
    }
    for limit in 1..=5 {
        let paged = client.all(&format!("/service/profiles?limit={limit}")).await;
        assert_eq!(paged.iter().map(|item| item["id"].as_str().unwrap()).collect::<Vec<_>>(), wanted);
    }
    let head = client.head("/service/profiles?limit=3").await.expect(200);
    assert_eq!((head.header("x-paging-count"), head.next_link().is_some()), (Some("3"), true));
    client.head("/service/profiles?codec=x").await.expect(400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_clients_cannot_both_make_the_same_profile() {
    let app = TestApp::start().await;
    let client = &app.client;
    let (path, mine, mut yours) = (path(1), profile(1), profile(1));
    yours["label"] = json!("yours");
    let (left, right) = tokio::join!(client.post(&path, &mine), client.post(&path, &yours));
    let winner = if left.status == 201 { &left } else { &right };
    let loser = if left.status == 201 { &right } else { &left };
    assert_eq!((loser.status.as_u16(), loser.error_type()), (400, "profile_exists"));
    assert_eq!(client.get(&path).await.expect(200).json, winner.json);
}

#[tokio::test]
async fn profiles_and_links_to_them_survive_a_restart() {
    let app = TestApp::start().await;
    let client = &app.client;
    let made = client.post(&path(1), &profile(1)).await.expect(201).json;
    assert_eq!(made["flow_metadata"], profile(1)["flow_metadata"]);
    client.make(&json!({"id": id(1), "source_id": id(7), "profile_id": id(1)})).await;
    let flow = client.get(&format!("/flows/{}", id(1))).await.json;
    let folder = app.stop().await;
    let app = TestApp::with(|config| config.data.dir = folder.path().join("data"), Clock::system()).await;
    let client = &app.client;
    assert_eq!(client.get("/service/profiles").await.json, json!([made]));
    assert_eq!(client.get(&format!("/flows/{}", id(1))).await.json, flow);
    assert_eq!(client.get(&format!("/flows?profile_id={}", id(1))).await.texts("id"), [id(1)]);
    // For a client of 7.0, which cannot see the link, the Flow is an ordinary one; what it sends back keeps it.
    let seen = client.get(&format!("/v7.0/flows/{}", id(1))).await.expect(200).json;
    assert!(seen.get("profile_id").is_none() && seen["codec"] == "audio/aac");
    client.put(&format!("/v7.0/flows/{}", id(1)), &seen).await.expect(204);
    assert_eq!(client.get(&format!("/flows/{}", id(1))).await.json["profile_id"], id(1));
}
