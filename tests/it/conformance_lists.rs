//! Requirements of `tests/matrix.csv` that all lists share: pages and tags.

use serde_json::{Value, json};

use crate::helpers::{Client, TestApp, audio_flow, id, segment, video_flow, with};

/// Three of everything that can be listed; object `o` is used by three Flows.
async fn three_of_each() -> TestApp {
    let app = TestApp::start().await;
    let client = &app.client;
    for number in 1..=3 {
        client.make(&audio_flow(number, 10 + number)).await;
        client.post(&format!("/flows/{}/segments", id(number)), &segment("o", "[0:0_1:0)")).await.expect(201);
        client.register(1, &format!("o{number}"), &format!("[{number}:0_{}:0)", number + 1)).await;
        let metadata = json!({"format": "urn:x-nmos:format:data", "codec": "a/b", "essence_parameters": {}});
        let profile = json!({"id": id(20 + number), "label": "p", "flow_metadata": metadata});
        client.post(&format!("/service/profiles/{}", id(20 + number)), &profile).await.expect(201);
        client.post("/service/webhooks", &hook(&format!("h{number}"), json!({}))).await.expect(201);
    }
    client.delete(&format!("/flows/{}/segments?object_id=o1", id(1))).await.expect(204);
    app
}

fn hook(host: &str, tags: Value) -> Value {
    json!({"url": format!("https://{host}.example.com"), "events": ["flows/created"], "tags": tags})
}

/// What a page holds: the items, or the Flows of an object.
fn items(page: &Value) -> Vec<Value> {
    page.get("referenced_by_flows").unwrap_or(page).as_array().unwrap().clone()
}

#[tokio::test]
async fn every_list_is_paged_alike() {
    let app = three_of_each().await;
    let client = &app.client;
    for (list, counted) in [
        ("/sources".to_owned(), true),
        ("/flows".into(), true),
        (format!("/flows/{}/segments", id(1)), true),
        ("/service/webhooks".into(), true),
        ("/service/profiles".into(), false),
        ("/objects/o".into(), false),
    ] {
        let first = client.get(&format!("{list}?limit=1")).await.expect(200);
        assert_eq!((items(&first.json).len(), first.header("x-paging-limit")), (1, Some("1")), "{list}");
        assert!(first.next_link().unwrap().starts_with(&client.url(&format!("{list}?"))), "{list}");
        let mut seen = items(&first.json);
        let mut token = first.header("x-paging-nextkey").map(str::to_owned);
        while let Some(next) = token {
            let path = format!("{list}?limit=1&page={next}");
            let (page, head) = (client.get(&path).await.expect(200), client.head(&path).await.expect(200));
            for header in ["link", "x-paging-nextkey", "x-paging-limit", "x-paging-count", "x-paging-reverse-order"] {
                assert_eq!(head.header(header), page.header(header), "{list} {header}");
            }
            assert_eq!(page.next_link().is_some(), page.header("x-paging-nextkey").is_some());
            seen.extend(items(&page.json));
            token = page.header("x-paging-nextkey").map(str::to_owned);
            assert!(seen.len() <= 3, "{list} never ends");
        }
        let whole = client.get(&list).await.expect(200);
        assert_eq!(seen, items(&whole.json), "{list}: none twice, none left out, and no empty last page");
        assert_eq!(seen.len(), 3);
        assert_eq!((whole.next_link(), whole.header("x-paging-nextkey")), (None, None), "{list}");
        assert!(whole.header("x-paging-limit").unwrap().parse::<u32>().unwrap() >= 3, "{list}");
        let large = client.get(&format!("{list}?limit=1000000")).await.expect(200);
        assert_eq!(large.header("x-paging-limit"), Some("1000"), "{list}");
        if counted {
            assert_eq!((first.header("x-paging-count"), whole.header("x-paging-count")), (Some("1"), Some("3")));
            for (query, reverse) in [("", "false"), ("?reverse_order=true", "true"), ("?reverse_order=false", "false")]
            {
                let answer = client.get(&format!("{list}{query}")).await.expect(200);
                assert_eq!(answer.header("x-paging-reverse-order"), Some(reverse), "{list}{query}");
                let mut expected = items(&whole.json);
                if reverse == "true" {
                    expected.reverse();
                }
                assert_eq!(items(&answer.json), expected, "{list}{query}");
            }
            client.get(&format!("{list}?reverse_order=maybe")).await.expect(400);
        }
        for bad in ["limit=0", "limit=-1", "limit=x", "page=x", "page="] {
            client.get(&format!("{list}?{bad}")).await.expect(400);
            client.head(&format!("{list}?{bad}")).await.expect(400);
        }
    }
}

async fn found(client: &Client, path: &str, key: &str) -> Vec<String> {
    let found = client.get(path).await.expect(200).json;
    let items = items(&found).into_iter();
    let mut found: Vec<String> =
        items.map(|item| item.get(key).unwrap_or(&item).as_str().unwrap().to_owned()).collect();
    found.sort();
    found
}

#[tokio::test]
async fn tags_choose_alike_in_every_list() {
    let app = TestApp::start().await;
    let client = &app.client;
    let tags = [json!({"x": "a"}), json!({"x": ["c", "b"], "y": "1"}), json!({"x": "ab", "e": [], "s": ""}), json!({})];
    for (number, tags) in (1..).zip(&tags) {
        client.make(&with(video_flow(number, 10 + number), json!({"tags": tags}))).await;
        client.post(&format!("/flows/{}/segments", id(number)), &segment("o", "[0:0_1:0)")).await.expect(201);
        client.post("/service/webhooks", &hook(&number.to_string(), tags.clone())).await.expect(201);
    }
    for (list, prefix, key) in
        [("/flows", "", "id"), ("/sources", "", "id"), ("/service/webhooks", "", "url"), ("/objects/o", "flow_", "id")]
    {
        let name = |number: u32| match list {
            "/service/webhooks" => format!("https://{number}.example.com"),
            "/sources" => id(10 + number),
            _ => id(number),
        };
        for (query, expected) in [
            ("tag.x=a", vec![1]),
            ("tag.x=A", vec![]),
            ("tag.x=a,b", vec![1, 2]),
            ("tag.x=a%2Cb", vec![1, 2]),
            ("tag.x=b", vec![2]),
            ("tag.x=c", vec![2]),
            ("tag.x=b&tag.y=1", vec![2]),
            ("tag.x=a&tag.y=1", vec![]),
            ("tag_exists.x=true", vec![1, 2, 3]),
            ("tag_exists.x=false", vec![4]),
            ("tag_exists.e=true", vec![3]),
            ("tag_exists.s=true", vec![3]),
            ("tag.s=", vec![3]),
            ("tag.e=", vec![]),
            ("tag.x=a&tag_exists.x=false", vec![]),
        ] {
            let query = query.split('&').map(|part| format!("{prefix}{part}")).collect::<Vec<_>>().join("&");
            let expected: Vec<String> = expected.into_iter().map(name).collect();
            assert_eq!(found(client, &format!("{list}?{query}"), key).await, expected, "{list}?{query}");
            client.head(&format!("{list}?{query}")).await.expect(200);
        }
        for bad in ["tag_exists.x=maybe", "tag_exists.x=", "tag.x=a,,b", "tag.x=a,"] {
            client.get(&format!("{list}?{prefix}{bad}")).await.expect(400);
            client.head(&format!("{list}?{prefix}{bad}")).await.expect(400);
        }
    }
}
