//! Spec: DELETE_flows-flowId-segments

use serde_json::json;

use crate::helpers::{TestApp, id, video_flow};

fn path(flow: u32, query: &str) -> String {
    format!("/flows/{}/segments?{query}", id(flow))
}

async fn with_segments(timeranges: &[&str]) -> TestApp {
    let app = TestApp::start().await;
    app.client.make(&video_flow(1, 7)).await;
    for (number, timerange) in timeranges.iter().enumerate() {
        app.client.register(1, &format!("o{number}"), timerange).await;
    }
    app
}

async fn left(app: &TestApp) -> Vec<String> {
    app.client.get(&path(1, "")).await.expect(200).texts("timerange")
}

#[tokio::test]
async fn only_segments_wholly_inside_are_deleted() {
    let all = ["[3:0_4:0)", "[4:0_5:0)", "[5:0_6:0)", "[6:0_7:0]", "[8:0]"];
    for (timerange, deleted) in [
        ("[3:500000000_5:0)", vec!["[4:0_5:0)"]),
        ("[3:5_4:5)", vec![]),
        ("[6:0_7:0)", vec![]),
        ("[6:0_7:0]", vec!["[6:0_7:0]"]),
        ("(4:0_5:0)", vec![]),
        ("()", vec![]),
        ("[5:0_5:0)", vec![]),
        ("[8:0]", vec!["[8:0]"]),
        ("[7:0_9:0)", vec!["[8:0]"]),
        ("_4:0)", vec!["[3:0_4:0)"]),
        ("_4:0]", vec!["[3:0_4:0)"]),
        ("[5:0_", vec!["[5:0_6:0)", "[6:0_7:0]", "[8:0]"]),
        ("[3:0_6:0)", vec!["[3:0_4:0)", "[4:0_5:0)", "[5:0_6:0)"]),
        ("_", all.to_vec()),
    ] {
        let app = with_segments(&all).await;
        let answer = app.client.delete(&path(1, &format!("timerange={timerange}"))).await.expect(204);
        assert_eq!(answer.json, json!(null));
        let expected: Vec<&str> = all.iter().copied().filter(|segment| !deleted.contains(segment)).collect();
        assert_eq!(left(&app).await, expected, "{timerange}");
        app.client.delete(&path(1, &format!("timerange={timerange}"))).await.expect(204);
        // What is free can be filled again, under the same or another id.
        for (number, segment) in deleted.iter().enumerate() {
            app.client.register(1, &format!("new{number}"), segment).await;
        }
        assert_eq!(left(&app).await, all, "{timerange}");
    }
}

#[tokio::test]
async fn an_object_id_narrows_the_deletion() {
    let app = with_segments(&["[0:0_1:0)", "[1:0_2:0)"]).await;
    let client = &app.client;
    for timerange in ["[2:0_3:0)", "[5:0_6:0)"] {
        let offset = &timerange[1..4];
        let again = json!({"object_id": "o0", "timerange": timerange, "ts_offset": offset});
        client.post(&path(1, ""), &again).await.expect(201);
    }
    client.delete(&path(1, "object_id=none")).await.expect(204);
    client.delete(&path(1, "object_id=..")).await.expect(204);
    client.delete(&path(1, "object_id=")).await.expect(204);
    assert_eq!(left(&app).await.len(), 4);
    client.delete(&path(1, "object_id=o0&timerange=[0:0_3:0)")).await.expect(204);
    assert_eq!(left(&app).await, ["[1:0_2:0)", "[5:0_6:0)"]);
    client.get("/objects/o0").await.expect(200);
    client.delete(&path(1, "object_id=o0")).await.expect(204);
    assert_eq!(left(&app).await, ["[1:0_2:0)"]);
    client.get("/objects/o0").await.expect(404);
    client.get("/objects/o1").await.expect(200);
}

#[tokio::test]
async fn an_object_stays_while_any_flow_uses_it() {
    let app = with_segments(&["[0:0_1:0)"]).await;
    let client = &app.client;
    client.make(&video_flow(2, 7)).await;
    client.post(&path(2, ""), &json!({"object_id": "o0", "timerange": "[0:0_1:0)"})).await.expect(201);
    client.delete(&path(1, "")).await.expect(204);
    let object = client.get("/objects/o0").await.expect(200).json;
    assert_eq!(object["referenced_by_flows"], json!([id(2)]));
    client.delete(&format!("/flows/{}", id(2))).await.expect(204);
    client.get("/objects/o0").await.expect(404);
}

#[tokio::test]
async fn an_init_object_goes_with_its_last_media_object() {
    let app = TestApp::start().await;
    let client = &app.client;
    let mut flow = video_flow(1, 7);
    flow["essence_parameters"]["init_segments"] = json!(true);
    client.make(&flow).await;
    client.allocate(1, &["o1", "o2", "i1"]).await;
    for (object, timerange) in [("o1", "[0:0_1:0)"), ("o2", "[1:0_2:0)")] {
        let segment = json!({"object_id": object, "init_object_id": "i1", "timerange": timerange});
        client.post(&path(1, ""), &segment).await.expect(201);
    }
    client.delete(&path(1, "object_id=i1")).await.expect(204);
    client.delete(&path(1, "object_id=o1")).await.expect(204);
    client.get("/objects/o1").await.expect(404);
    client.get("/objects/i1").await.expect(200);
    client.delete(&path(1, "")).await.expect(204);
    client.get("/objects/i1").await.expect(404);
}

#[tokio::test]
async fn many_segments_are_deleted_at_once() {
    let app = TestApp::start().await;
    let client = &app.client;
    client.make(&video_flow(1, 7)).await;
    let list: Vec<_> = (0..2_500)
        .map(|second| crate::helpers::segment(&format!("o{second}"), &format!("[{second}:0_{}:0)", second + 1)))
        .collect();
    client.post(&path(1, ""), &json!(list)).await.expect(201);
    client.delete(&path(1, "timerange=[10:0_2490:0)")).await.expect(204);
    assert_eq!(left(&app).await.len(), 20);
    client.get("/objects/o9").await.expect(200);
    client.get("/objects/o10").await.expect(404);
}
