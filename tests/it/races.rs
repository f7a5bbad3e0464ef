//! Two writers for one place on the timeline.

use serde_json::json;

use crate::helpers::{TestApp, id, segment, video_flow};

/// Spec: POST_flows-flowId-segments; guarantee G3.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_writers_cannot_both_register_the_same_second() {
    let app = TestApp::start().await;
    let client = &app.client;
    client.put(&format!("/flows/{}", id(1)), &video_flow(1, 101)).await.expect(201);
    let path = format!("/flows/{}/segments", id(1));
    let mut winners = Vec::new();
    for second in 0..1_000 {
        let timerange = format!("[{second}:0_{}:0)", second + 1);
        let (left, right) =
            (segment(&format!("left-{second}"), &timerange), segment(&format!("right-{second}"), &timerange));
        let (left_answer, right_answer) = tokio::join!(client.post(&path, &left), client.post(&path, &right));
        let mut statuses = [left_answer.status.as_u16(), right_answer.status.as_u16()];
        let winner = if statuses[0] == 201 { "left" } else { "right" };
        let loser = if statuses[0] == 201 { &right_answer } else { &left_answer };
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 400], "second {second}");
        assert_eq!(loser.error_type(), "segment_overlap");
        winners.push(format!("{winner}-{second}"));
    }
    let mut stored = Vec::new();
    let mut next = Some(client.url(&format!("{path}?limit=300")));
    while let Some(url) = next {
        let page = client.send(client.http.get(url)).await.expect(200);
        stored.extend(page.texts("object_id"));
        next = page.next_link();
    }
    assert_eq!(stored, winners, "what is stored is what won");
}

/// Spec: POST_flows-flowId-storage.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_clients_cannot_both_be_given_the_same_object_id() {
    let app = TestApp::start().await;
    let client = &app.client;
    client.put(&format!("/flows/{}", id(1)), &video_flow(1, 101)).await.expect(201);
    let path = format!("/flows/{}/storage", id(1));
    for number in 0..100 {
        let request = json!({"object_ids": [format!("o-{number}"), format!("p-{number}")]});
        let (left, right) = tokio::join!(client.post(&path, &request), client.post(&path, &request));
        let mut statuses = [left.status.as_u16(), right.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 400]);
        let loser = if left.status == 400 { left } else { right };
        assert!(loser.json["message"].as_str().unwrap().contains("already exist"), "{loser:?}");
    }
}
