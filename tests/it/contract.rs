//! The official API files against the server: every operation is served, every example is accepted, and every
//! requirement has a test or a reason. That answers have the shape of their schemas is checked by the client of all
//! tests, see `helpers::contract`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;

use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::helpers::contract::Contract;
use crate::helpers::{Client, TestApp, id, segment, specification, video_flow, with};

const VERSIONS: [(&str, &str); 3] = [("8.2", ""), ("8.2", "/v8.2"), ("7.0", "/v7.0")];

/// What the server says where there is no such path at all.
const NOWHERE: &str = "There is nothing at this path";

fn profile(number: u32) -> Value {
    let mut metadata = video_flow(1, 1);
    for key in ["id", "source_id"] {
        metadata.as_object_mut().unwrap().remove(key);
    }
    json!({"id": id(number), "label": "p", "flow_metadata": metadata})
}

#[tokio::test]
async fn every_operation_is_served_under_its_prefix() {
    for (version, prefix) in VERSIONS {
        let Some(contract) = Contract::of(version) else { return };
        let app = TestApp::start().await;
        let client = &app.client;
        let described = json!({"label": "x", "description": "x", "tags": {"a": "b"}});
        client.make(&with(video_flow(1, 7), described)).await;
        client.post(&format!("/flows/{}/segments", id(1)), &segment("o1", "[0:0_1:0)")).await.expect(201);
        client.post(&format!("/service/profiles/{}", id(3)), &profile(3)).await.expect(201);
        let hook = json!({"url": "https://hook.example.com", "events": ["flows/created"]});
        let hook = client.post("/service/webhooks", &hook).await.expect(201).json;
        let fill = |template: &str| {
            template
                .replace("{flowId}", &id(1))
                .replace("{sourceId}", &id(7))
                .replace("{profileId}", &id(3))
                .replace("{webhookId}", hook["id"].as_str().unwrap())
                .replace("{objectId}", "o1")
                .replace("{request-id}", &id(9))
                .replace("{name}", "a")
        };
        let mut operations = contract.operations().to_vec();
        // What reads goes first, what removes goes last and the Flow with it at the very end.
        operations.sort_by_key(|operation| {
            (operation.method == Method::DELETE, operation.template == "/flows/{flowId}", operation.id.clone())
        });
        assert!(operations.len() > 70, "{version}");
        let mut missing = Vec::new();
        for operation in &operations {
            let path = format!("{prefix}{}", fill(&operation.template));
            assert!(!path.contains('{'), "{path}");
            let answer = match operation.method {
                Method::GET => client.get(&path).await,
                // It has no body that could tell one 404 from another.
                Method::HEAD => {
                    let (get, head) = (client.get(&path).await, client.head(&path).await);
                    assert_eq!(head.status, get.status, "{version} {path}");
                    get
                }
                // An empty body fits nowhere, and changes nothing.
                ref method => client.raw(method.clone(), &path, Some("application/json"), "").await,
            };
            if answer.status == 405 || (answer.status == 404 && answer.json["summary"] == NOWHERE) {
                missing.push(format!("{} ({} {path}): {}", operation.id, operation.method, answer.status));
            }
        }
        assert!(missing.is_empty(), "{version} under {prefix:?} is not all served:\n{}", missing.join("\n"));
    }
}

#[test]
fn our_own_document_names_every_operation_of_the_specification() {
    let Some(contract) = Contract::of("8.2") else { return };
    let ours: BTreeSet<&str> = tamslake::api::operation_ids().into_iter().collect();
    // HEAD goes with GET, without a handler of its own.
    let official = contract.operations().iter().filter(|operation| operation.method != Method::HEAD);
    let missing: Vec<&str> = official.map(|operation| operation.id.as_str()).filter(|id| !ours.contains(id)).collect();
    assert!(missing.is_empty(), "not described: {missing:?}");
    assert_eq!(contract.operations().len(), 85);
}

fn example(version: &str, name: &str) -> Option<Value> {
    let file = specification(version)?.join("examples").join(name);
    Some(serde_json::from_slice(&std::fs::read(&file).unwrap_or_else(|error| panic!("{name}: {error}"))).unwrap())
}

/// Names of the examples that begin and end so.
fn examples(version: &str, start: &str) -> Vec<String> {
    let folder = specification(version).unwrap().join("examples");
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.starts_with(start)).collect();
    names.sort();
    names
}

/// Puts a Flow from an example.
async fn put(client: &Client, prefix: &str, what: &str, flow: &Value) {
    let answer = client.put(&format!("{prefix}/flows/{}", flow["id"].as_str().unwrap()), flow).await;
    assert!(matches!(answer.status.as_u16(), 201 | 204), "{prefix} {what}: {answer:?}");
}

/// A small Flow of the format of a member, under its id.
fn member(flow: &Value, format: &str) -> Value {
    let essence = match format {
        "urn:x-nmos:format:audio" => json!({"sample_rate": 48000, "channels": 2}),
        "urn:x-nmos:format:video" => json!({"frame_width": 1, "frame_height": 1, "frame_rate": {"numerator": 25}}),
        _ => json!({}),
    };
    json!({"id": flow["id"], "source_id": flow["id"], "format": format, "codec": "a/b", "essence_parameters": essence})
}

#[tokio::test]
async fn every_example_of_a_flow_is_accepted() {
    for (version, prefix) in VERSIONS {
        if specification(version).is_none() {
            return;
        }
        for name in
            examples(version, "flow-get-200-").into_iter().chain(["flow-put.json".into(), "flow-put-201.json".into()])
        {
            let app = TestApp::start().await;
            let client = &app.client;
            let mut flow = example(version, &name).unwrap();
            // Members have to be there. Two examples collect themselves, which makes no sense: left out.
            if let Some(members) = flow.get_mut("flow_collection") {
                let members = members.as_array_mut().unwrap();
                members.retain(|one| one["id"] != example(version, &name).unwrap()["id"]);
                for one in members {
                    put(client, prefix, &name, &member(one, "urn:x-nmos:format:data")).await;
                }
            }
            put(client, prefix, &name, &flow).await;
            let path = format!("{prefix}/flows/{}", flow["id"].as_str().unwrap());
            let stored = client.get(&path).await.expect(200).json;
            for (key, value) in flow.as_object().unwrap() {
                let ours = [
                    "created",
                    "metadata_updated",
                    "segments_updated",
                    "metadata_version",
                    "collected_by",
                    "timerange",
                ];
                if !ours.contains(&key.as_str()) {
                    assert_eq!(&stored[key], value, "{version} {name}: {key}");
                }
            }
            // What was read can be sent back.
            put(client, prefix, &name, &stored).await;
        }
    }
}

#[tokio::test]
async fn every_example_of_a_request_is_accepted() {
    for (version, prefix) in VERSIONS {
        let Some(service) = example(version, "service-post.json") else { return };
        let app = TestApp::start().await;
        let client = &app.client;
        client.post(&format!("{prefix}/service"), &service).await.expect(200);
        let stored = client.get(&format!("{prefix}/service")).await.expect(200).json;
        assert_eq!((&stored["name"], &stored["description"]), (&service["name"], &service["description"]));

        // A collection, with members that are there and without the example's collector in its own collection.
        let mut multi = example(version, "flow-put-multi.json").unwrap();
        let collector = multi["id"].clone();
        let mut collection = example(version, "flow-collection-put.json").unwrap();
        for members in [&mut multi["flow_collection"], &mut collection] {
            let members = members.as_array_mut().unwrap();
            members.retain(|one| one["id"] != collector);
            for one in members {
                put(client, prefix, "member", &member(one, "urn:x-nmos:format:audio")).await;
            }
        }
        put(client, prefix, "flow-put-multi.json", &multi).await;
        let path = format!("{prefix}/flows/{}/flow_collection", collector.as_str().unwrap());
        client.put(&path, &collection).await.expect(204);
        assert_eq!(client.get(&path).await.expect(200).json, collection);

        // Storage and a segment on it. The collection's members have the ids of other examples.
        let app = TestApp::start().await;
        let client = &app.client;
        let flow = example(version, "flow-get-200-video-h264.json").unwrap();
        put(client, prefix, "flow-get-200-video-h264.json", &flow).await;
        let flow = format!("{prefix}/flows/{}", flow["id"].as_str().unwrap());
        for name in ["flow-storage-post.json", "flow-storage-post-object_ids.json"] {
            client.post(&format!("{flow}/storage"), &example(version, name).unwrap()).await.expect(201);
        }
        let segment = example(version, "flow-segment-post.json").unwrap();
        let object_ids = json!({"object_ids": [segment["object_id"]]});
        client.post(&format!("{flow}/storage"), &object_ids).await.expect(201);
        client.post(&format!("{flow}/segments"), &segment).await.expect(201);
        for name in examples(version, "flow-segments-get-200") {
            if name.ends_with("-object-timerange.json") {
                continue; // its times do not fit together: 10 s with an offset of -100 s are 110 s, not 150 s
            }
            for segment in example(version, &name).unwrap().as_array().unwrap() {
                segment_as_read(client, &flow, &name, segment).await;
            }
        }

        if version == "7.0" {
            continue; // has no examples of webhooks, and no profiles and instances at all
        }
        for name in ["profile-put.json", "profile-post-201.json"] {
            let app = TestApp::start().await;
            let profile = example(version, name).unwrap();
            let path = format!("{prefix}/service/profiles/{}", profile["id"].as_str().unwrap());
            app.client.post(&path, &profile).await.expect(201);
            put(&app.client, prefix, "flow-put-profile.json", &example(version, "flow-put-profile.json").unwrap())
                .await;
        }
        for name in examples(version, "profile-get-200") {
            let profile = example(version, &name).unwrap();
            let path = format!("{prefix}/service/profiles/{}", profile["id"].as_str().unwrap());
            client.post(&path, &profile).await.expect(201);
        }

        let hook = example(version, "webhook-post.json").unwrap();
        let hook = client.post(&format!("{prefix}/service/webhooks"), &hook).await.expect(201).json;
        let change = with(example(version, "webhook-put.json").unwrap(), json!({"id": hook["id"]}));
        client.put(&format!("{prefix}/service/webhooks/{}", hook["id"].as_str().unwrap()), &change).await.expect(201);

        // Instances: the example's backend is not ours.
        client.delete(&format!("{flow}/segments")).await;
        client.post(&format!("{flow}/segments"), &crate::helpers::segment("external", "[0:0]")).await.expect(201);
        let instances = format!("{prefix}/objects/external/instances");
        let uncontrolled = example(version, "objects-instances-uncontrolled-post.json").unwrap();
        client.post(&instances, &uncontrolled).await.expect(201);
        let controlled = example(version, "objects-instances-controlled-post.json").unwrap();
        client.post(&instances, &controlled).await.expect(400);
    }
}

/// A segment as it is read, sent back: with what only reading has cut away, and on a place of its own.
async fn segment_as_read(client: &Client, flow: &str, name: &str, segment: &Value) {
    client.delete(&format!("{flow}/segments")).await;
    let mut segment = segment.clone();
    let keys = segment.as_object_mut().unwrap();
    let urls = json!([{"url": "https://media.example/x", "label": "cdn"}]);
    keys.insert("get_urls".into(), urls);
    keys.insert("object_id".into(), json!(format!("{name}{}", keys["object_id"])));
    // Only Flows with init segments take one.
    keys.remove("init_object");
    client.post(&format!("{flow}/segments"), &segment).await.expect(201);
}

#[test]
fn the_checker_finds_what_is_wrong() {
    let Some(contract) = Contract::of("8.2") else { return };
    let paging = |names: &[&'static str]| -> HeaderMap {
        names.iter().map(|name| (name.parse().unwrap(), "1".parse().unwrap())).collect()
    };
    let all = ["x-paging-limit", "x-paging-count", "x-paging-reverse-order"];
    let flow = with(video_flow(1, 7), json!({"created": "2026-08-14T09:00:00Z"}));
    let complaints = |path: &str, status: u16, headers: &HeaderMap, body: &Value| {
        let operation = contract.operation(&Method::GET, path).unwrap();
        contract.complaints(operation, StatusCode::from_u16(status).unwrap(), headers, body).len()
    };
    assert_eq!(complaints("/flows", 200, &paging(&all), &json!([flow])), 0);
    assert_eq!(complaints("/flows", 200, &paging(&all[1..]), &json!([flow])), 1);
    assert_eq!(complaints("/flows", 200, &paging(&["link", all[0], all[1], all[2]]), &json!([])), 1, "no NextKey");
    assert_eq!(complaints("/flows", 201, &paging(&all), &json!([flow])), 1);
    assert_ne!(complaints("/flows", 200, &paging(&all), &json!({})), 0);
    let none = HeaderMap::new();
    let one = format!("/flows/{}", id(1));
    assert_eq!(complaints(&one, 200, &none, &flow), 0);
    for wrong in [
        json!({"id": "X"}),
        json!({"created": "yesterday"}),
        json!({"label": null}),
        json!({"timerange": "1-2"}),
        json!({"essence_parameters": {}}),
        json!({"flow_collection": [{}]}),
    ] {
        assert_ne!(complaints(&one, 200, &none, &with(flow.clone(), wrong.clone())), 0, "{wrong}");
    }
    assert_eq!(complaints(&format!("{one}/label"), 200, &none, &json!(null)), 0, "not set");
    assert_ne!(complaints(&format!("{one}/read_only"), 200, &none, &json!(null)), 0);
    assert_ne!(complaints(&format!("{one}/tags/x"), 200, &none, &json!(5)), 0);
    assert_eq!(contract.operation(&Method::GET, "/flows/x/tags/a%2Fb").unwrap().id, "GET_flows-flowId-tags-name");
    assert!(contract.operation(&Method::GET, "/media/x").is_none());
}

#[test]
fn the_official_files_are_there() {
    for version in ["8.2", "7.0"] {
        match Contract::of(version) {
            Some(contract) => assert!(contract.operations().len() > 70),
            // Past the capture of output, which hides what tests that pass have to say.
            None => writeln!(std::io::stderr(), "\nNOT CHECKED against TAMS {version}: no answer of any test").unwrap(),
        }
    }
}

/// Records of a CSV file with quotes.
fn records(text: &str) -> Vec<Vec<String>> {
    let (mut records, mut record, mut field) = (Vec::new(), Vec::new(), String::new());
    let mut quoted = false;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => field.extend(letters.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => record.push(std::mem::take(&mut field)),
            '\r' if !quoted => {}
            '\n' if !quoted => {
                record.push(std::mem::take(&mut field));
                records.push(std::mem::take(&mut record));
            }
            _ => field.push(letter),
        }
    }
    records
}

/// Whether a file of the sources has this test: `flows::a_test` is one of `tests/it`, `src/…/x.rs::a_test` one beside
/// the code.
fn test_exists(named: &str, sources: &mut BTreeMap<String, String>) -> bool {
    let Some((file, test)) = named.split_once("::") else { return false };
    let path = if file.contains('/') { file.to_owned() } else { format!("tests/it/{file}.rs") };
    let source = sources.entry(path.clone()).or_insert_with(|| {
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap_or_default()
    });
    let declared = format!("fn {test}(");
    // With the attribute somewhere in the lines before.
    source.find(&declared).is_some_and(|at| source[..at].lines().rev().take(3).any(|line| line.contains("test")))
}

#[test]
fn every_requirement_has_a_test_or_a_reason() {
    let Some(folder) = specification("8.2") else { return };
    let matrix = records(&std::fs::read_to_string(folder.parent().unwrap().join("matrix.csv")).unwrap());
    let column = |name: &str| matrix[0].iter().position(|title| title == name).unwrap();
    let (id, level) = (column("id"), column("level"));
    let known: BTreeSet<&str> = matrix[1..].iter().map(|row| row[id].as_str()).collect();
    let wanted: Vec<&str> = matrix[1..]
        .iter()
        .filter(|row| ["MUST", "SHOULD"].contains(&row[level].as_str()))
        .map(|row| row[id].as_str())
        .collect();
    assert!(wanted.len() > 1_000);

    let ours = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/matrix.csv")).unwrap();
    let ours = records(&ours);
    assert_eq!(ours[0], ["id", "test_or_reason"]);
    let mut complaints = Vec::new();
    let (mut sources, mut given) = (BTreeMap::new(), BTreeSet::new());
    for row in &ours[1..] {
        let [id, proof] = row.as_slice() else { panic!("two fields are needed: {row:?}") };
        if !known.contains(id.as_str()) {
            complaints.push(format!("{id} is no requirement"));
        }
        if !given.insert(id.as_str()) {
            complaints.push(format!("{id} is there twice"));
        }
        match proof.strip_prefix("reason: ") {
            Some(reason) if reason.trim().len() > 10 => {}
            Some(_) => complaints.push(format!("{id} has no real reason")),
            None => {
                let missing = proof.split(' ').filter(|test| !test_exists(test, &mut sources));
                complaints.extend(missing.map(|test| format!("{id} names a test that is not there: {test:?}")));
            }
        }
    }
    complaints.extend(wanted.iter().filter(|id| !given.contains(*id)).map(|id| format!("{id} has neither")));
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}
