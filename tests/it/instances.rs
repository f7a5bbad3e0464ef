//! What becomes of an instance's bytes.
//! Spec: POST_objects-instances, DELETE_objects-instances

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::helpers::{Client, Process, TestApp, id, video_flow};

const PATH: &str = "/objects/o1/instances";

fn files(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
}

async fn until_files(folder: &Path, count: usize) {
    for _ in 0..3_000 {
        if files(folder) == count {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(files(folder), count);
}

/// Objects `o1` and `o2` of Flow 1 with bytes here.
async fn furnished(client: &Client) -> String {
    client.make(&video_flow(1, 7)).await;
    for (at, url) in client.allocate(1, &["o1", "o2"]).await.into_iter().enumerate() {
        client.http.put(url).body("bytes").send().await.unwrap().error_for_status().unwrap();
        let segment = json!({"object_id": format!("o{}", at + 1), "timerange": format!("[{at}:0_{}:0)", at + 1)});
        client.post(&format!("/flows/{}/segments", id(1)), &segment).await.expect(201);
    }
    client.get("/service/storage-backends").await.json[0]["id"].as_str().unwrap().to_owned()
}

fn cdn() -> Value {
    json!({"url": "https://cdn.example/o1", "label": "cdn"})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bytes_of_a_deleted_instance_go_whenever_the_server_dies_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let objects = data.join("media/objects");
    let server = Process::start(&data).unwrap();
    let client = &server.client;
    let backend = furnished(client).await;
    assert_eq!(files(&objects), 2);
    client.post(PATH, &cdn()).await.expect(201);
    assert_eq!(files(&objects), 2);
    let bytes = client.get("/objects/o1").await.json["get_urls"][0]["url"].as_str().unwrap().to_owned();
    client.delete(&format!("{PATH}?storage_id={backend}")).await.expect(204);
    assert_eq!(client.http.get(bytes).send().await.unwrap().status(), 404);
    server.kill();

    let server = Process::start(&data).unwrap();
    let client = &server.client;
    until_files(&objects, 1).await;
    let object = client.get("/objects/o1").await.expect(200).json;
    assert_eq!(object["get_urls"], json!([cdn()]));
    let other = client.get("/objects/o2").await.json["get_urls"][0]["url"].as_str().unwrap().to_owned();
    assert_eq!(client.http.get(other).send().await.unwrap().text().await.unwrap(), "bytes");
    // There is no other copy here to make it again from.
    client.post(PATH, &json!({"storage_id": backend})).await.expect(400);
    client.delete(&format!("{PATH}?storage_id={backend}")).await.expect(404);
    client.delete(&format!("{PATH}?label=local")).await.expect(404);
    client.delete(&format!("/flows/{}", id(1))).await.expect(204);
    until_files(&objects, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controlled_instance_has_its_backends_label_too() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Process::start(&data).unwrap();
    let client = &server.client;
    let backend = furnished(client).await;
    client.post(PATH, &cdn()).await.expect(201);
    for odd in ["x", "", &id(9)] {
        client.delete(&format!("{PATH}?storage_id={odd}")).await.expect(404);
    }
    let both = json!({"storage_id": backend, "url": "https://a.example/x", "label": "x"});
    client.post(PATH, &both).await.expect(400);
    client.delete(&format!("{PATH}?label=local")).await.expect(204);
    until_files(&data.join("media/objects"), 1).await;
    let last = client.delete(&format!("{PATH}?label=cdn")).await.expect(400);
    assert_eq!(last.error_type(), "last_instance");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_clients_that_take_the_last_two_instances_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(&folder.path().join("data")).unwrap();
    let client = &server.client;
    let backend = furnished(client).await;
    client.post(PATH, &cdn()).await.expect(201);
    let (here, there) = (format!("{PATH}?storage_id={backend}"), format!("{PATH}?label=cdn"));
    let (left, right) = tokio::join!(client.delete(&here), client.delete(&there));
    let mut statuses = [left.status.as_u16(), right.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 400]);
    assert_eq!(client.get("/objects/o1").await.json["get_urls"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_object_takes_a_hundred_instances_and_no_more() {
    let app = TestApp::start().await;
    let client = &app.client;
    furnished(client).await;
    for number in 1..100 {
        let url = json!({"url": "https://cdn.example/o1", "label": format!("cdn-{number}")});
        client.post(PATH, &url).await.expect(201);
    }
    let refused = client.post(PATH, &cdn()).await.expect(400);
    assert_eq!(refused.error_type(), "too_many_instances");
    client.delete(&format!("{PATH}?label=cdn-7")).await.expect(204);
    client.post(PATH, &cdn()).await.expect(201);
}
