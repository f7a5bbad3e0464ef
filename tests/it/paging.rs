//! Pages: Link, X-Paging headers, tokens. Spec: GET_flows, GET_sources, GET_flows-flowId-segments, GET_objects

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tamslake::clock::Clock;

use crate::helpers::{TestApp, audio_flow, id, segment, video_flow, with};

async fn with_flows(count: u32) -> TestApp {
    let app = TestApp::start().await;
    for number in 1..=count {
        app.client.make(&audio_flow(number, 100 + number)).await;
    }
    app
}

#[tokio::test]
async fn a_page_tells_its_size_and_where_the_next_one_is() {
    let app = with_flows(3).await;
    let client = &app.client;
    let query = "tag_exists.a%2Cb=false&format=urn:x-nmos:format:audio&limit=2&access_token=secret&label_not=x;y,z";
    let first = client.get(&format!("/flows?{query}")).await.expect(200);
    assert_eq!((first.header("x-paging-limit"), first.header("x-paging-count")), (Some("2"), Some("2")));
    assert_eq!(first.header("x-paging-reverse-order"), Some("false"));
    let (link, token) = (first.next_link().unwrap(), first.header("x-paging-nextkey").unwrap().to_owned());
    assert!(link.starts_with(&client.url("/flows?")), "{link}");
    assert!(link.contains("format=urn%3Ax-nmos%3Aformat%3Aaudio") && link.contains("limit=2"), "{link}");
    assert!(link.contains("tag_exists.a%2Cb=false"), "{link}");
    assert!(!link.contains("secret") && !link.contains([',', ';', '<', '>', ' ']), "{link}");
    assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte)), "{token}");
    let second = client.send(client.http.get(&link)).await.expect(200);
    assert_eq!((second.header("x-paging-limit"), second.header("x-paging-count")), (Some("2"), Some("1")));
    assert_eq!((second.next_link(), second.header("x-paging-nextkey")), (None, None));
    let by_token = client.get(&format!("/flows?{query}&page={token}")).await.expect(200);
    assert_eq!(by_token.json, second.json);
    let mut ids = [first.texts("id"), second.texts("id")].concat();
    ids.sort();
    assert_eq!(ids, [1, 2, 3].map(id));
}

#[tokio::test]
async fn a_full_last_page_has_no_next_and_an_empty_list_has_a_page() {
    let app = with_flows(2).await;
    for path in
        ["/flows?limit=2", "/flows?limit=3", "/flows", "/sources?limit=2", "/flows?label=none", "/sources?label=none"]
    {
        let answer = app.client.get(path).await.expect(200);
        assert_eq!((answer.next_link(), answer.header("x-paging-nextkey")), (None, None), "{path}");
        assert_eq!(answer.header("x-paging-count"), Some(answer.json.as_array().unwrap().len().to_string().as_str()));
    }
    assert_eq!(app.client.get("/flows").await.header("x-paging-limit"), Some("100"));
}

#[tokio::test]
async fn a_limit_that_is_too_large_is_cut_and_one_that_is_none_is_refused() {
    let app = with_flows(1).await;
    let client = &app.client;
    let list: Vec<Value> = (0..1_005).map(|second| segment("o", &format!("[{second}:0]"))).collect();
    let list: Vec<Value> = list
        .into_iter()
        .enumerate()
        .map(|(number, segment)| with(segment, json!({"ts_offset": format!("{number}:0")})))
        .map(|mut segment| {
            if segment["ts_offset"] != "0:0" {
                segment.as_object_mut().unwrap().remove("get_urls");
            }
            segment
        })
        .collect();
    let path = format!("/flows/{}/segments", id(1));
    client.post(&path, &json!(list)).await.expect(201);
    for limit in ["1000", "1001", "4294967296", "99999999999999999999999999999"] {
        let answer = client.get(&format!("{path}?limit={limit}")).await.expect(200);
        assert_eq!((answer.header("x-paging-limit"), answer.header("x-paging-count")), (Some("1000"), Some("1000")));
        let rest = client.send(client.http.get(answer.next_link().unwrap())).await.expect(200);
        assert_eq!((rest.header("x-paging-limit"), rest.header("x-paging-count")), (Some("1000"), Some("5")));
        assert_eq!(rest.next_link(), None);
    }
    for list in [path.as_str(), "/flows", "/sources", "/service/storage-backends", "/objects/o"] {
        for limit in ["0", "-1", "", "x", "1.5", "1e3", "0x10", "%2B1", "1%20", "٣", "-99999999999999999999", "NaN"] {
            let refused = client.get(&format!("{list}?limit={limit}")).await.expect(400);
            assert_eq!(refused.json["message"][0]["type"], "int_parsing", "{list} {limit}");
            client.head(&format!("{list}?limit={limit}")).await.expect(400);
        }
    }
}

#[tokio::test]
async fn a_token_fits_only_the_list_and_the_filters_it_was_made_for() {
    let app = with_flows(3).await;
    let client = &app.client;
    client.make(&audio_flow(4, 101)).await;
    for flow in [1, 4] {
        for second in 0..3 {
            client.register(flow, &format!("o{flow}-{second}"), &format!("[{second}:0]")).await;
        }
    }
    for flow in [2, 3] {
        let again = json!({"object_id": "o1-0", "timerange": "[0:0]"});
        client.post(&format!("/flows/{}/segments", id(flow)), &again).await.expect(201);
    }
    let (one, four) = (format!("/flows/{}/segments", id(1)), format!("/flows/{}/segments", id(4)));
    let token = async |path: &str| client.get(path).await.expect(200).header("x-paging-nextkey").unwrap().to_owned();
    let mut tokens = BTreeMap::new();
    for list in [
        "/flows?limit=1".to_owned(),
        "/flows?limit=1&reverse_order=true".into(),
        "/flows?limit=1&sort_by=label".into(),
        "/flows?limit=1&format=urn:x-nmos:format:audio".into(),
        "/sources?limit=1".into(),
        format!("{one}?limit=1"),
        format!("{one}?limit=1&reverse_order=true"),
        format!("{one}?limit=1&timerange=[0:0_9:0)"),
        format!("{four}?limit=1"),
        "/objects/o1-0?limit=1".into(),
    ] {
        tokens.insert(list.clone(), token(&list).await);
    }
    for (list, own) in &tokens {
        client.get(&format!("{list}&page={own}")).await.expect(200);
        client.get(&format!("{}&page={own}", list.replace("limit=1", "limit=7"))).await.expect(200);
        for (other, token) in tokens.iter().filter(|(other, _)| *other != list) {
            let refused = client.get(&format!("{list}&page={token}")).await;
            assert_eq!((refused.status.as_u16(), refused.error_type()), (400, "page_token"), "{other} -> {list}");
        }
        let mut bad: Vec<String> = [
            "",
            "x",
            "1",
            "0",
            "null",
            "%00",
            "%FF",
            "../x",
            "AAAA",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        ]
        .map(str::to_owned)
        .to_vec();
        bad.extend([
            format!("{own}A"),
            format!("{own}%3D"),
            own[1..].to_owned(),
            own[..own.len() - 1].to_owned(),
            "z".repeat(6_000),
        ]);
        for at in 0..own.len() {
            let byte = if own.as_bytes()[at] == b'A' { "B" } else { "A" };
            bad.push(format!("{}{byte}{}", &own[..at], &own[at + 1..]));
        }
        for token in bad {
            let refused = client.get(&format!("{list}&page={token}")).await;
            // The last character may hold bits that mean nothing.
            let same =
                refused.status == 200 && token.len() == own.len() && token[..own.len() - 1] == own[..own.len() - 1];
            assert!(
                same || (refused.status == 400 && refused.error_type() == "page_token"),
                "{list} {token} {refused:?}"
            );
        }
    }
}

#[tokio::test]
async fn items_of_the_same_moment_are_paged_by_their_id() {
    let clock = Clock::manual("2026-08-14T09:00:00Z".parse().unwrap(), 1);
    let app = TestApp::with(|_| {}, clock).await;
    for number in [5, 3, 9, 1, 7, 2, 8, 4, 6] {
        app.client.make(&video_flow(number, 100 + number)).await;
    }
    for sort in ["", "&sort_by=label", "&sort_by=metadata_updated"] {
        for limit in 1..=10 {
            let flows = app.client.all(&format!("/flows?limit={limit}{sort}")).await;
            let ids: Vec<&str> = flows.iter().map(|flow| flow["id"].as_str().unwrap()).collect();
            assert_eq!(ids, (1..=9).map(id).collect::<Vec<_>>(), "limit {limit}{sort}");
            let reversed = app.client.all(&format!("/flows?limit={limit}{sort}&reverse_order=true")).await;
            assert!(reversed.iter().eq(flows.iter().rev()), "limit {limit}{sort}");
        }
    }
}

#[tokio::test]
async fn long_and_strange_labels_can_be_paged_by() {
    let app = TestApp::start().await;
    let long = "ü".repeat(50_000);
    let labels = [
        format!("{long}b"),
        format!("{long}a"),
        "\u{0}".into(),
        String::new(),
        "a,b;c<d>\r\n".into(),
        "\u{10FFFF}".into(),
    ];
    for (number, label) in (1..).zip(&labels) {
        app.client.make(&with(video_flow(number, 7), json!({"label": label}))).await;
    }
    let mut expected = labels.to_vec();
    expected.sort();
    for (reverse, expected) in [(false, expected.clone()), (true, expected.into_iter().rev().collect())] {
        let flows = app.client.all(&format!("/flows?sort_by=label&limit=1&reverse_order={reverse}")).await;
        let found: Vec<&str> = flows.iter().map(|flow| flow["label"].as_str().unwrap()).collect();
        assert!(found == expected, "{reverse}");
    }
}

#[tokio::test]
async fn a_page_goes_on_behind_an_item_that_is_gone() {
    let app = with_flows(4).await;
    let client = &app.client;
    for second in 0..4 {
        client.register(1, &format!("o{second}"), &format!("[{second}:0_{}:0)", second + 1)).await;
    }
    let flows = client.get("/flows?limit=2&sort_by=created&reverse_order=true").await;
    let path = format!("/flows/{}/segments", id(1));
    let segments = client.get(&format!("{path}?limit=2")).await;
    client.delete(&format!("{path}?timerange=[1:0_2:0)")).await.expect(204);
    client.delete(&format!("/flows/{}", id(2))).await.expect(204);
    let rest = client.send(client.http.get(segments.next_link().unwrap())).await.expect(200);
    assert_eq!(rest.texts("object_id"), ["o2", "o3"]);
    let rest = client.send(client.http.get(flows.next_link().unwrap())).await.expect(200);
    assert_eq!(rest.texts("id"), [id(3), id(4)]);
    // When all that comes after is gone, the page is empty.
    client.delete(&path).await.expect(204);
    let rest = client.send(client.http.get(segments.next_link().unwrap())).await.expect(200);
    assert_eq!((rest.json.clone(), rest.next_link()), (json!([]), None));
}

/// Even seconds stay; a writer registers and deletes odd ones all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn paging_skips_and_repeats_nothing_while_others_write() {
    let app = with_flows(1).await;
    let client = &app.client;
    let path = format!("/flows/{}/segments", id(1));
    let steady: Vec<Value> = (0..200)
        .map(|number| segment(&format!("even-{number:03}"), &format!("[{}:0_{}:0)", number * 2, number * 2 + 1)))
        .collect();
    client.post(&path, &json!(steady)).await.expect(201);
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (client, path, stop) = (app.client.clone(), path.clone(), stop.clone());
        async move {
            for round in 0.. {
                let odd: Vec<Value> = (0..200)
                    .filter(|number| (number + round) % 3 != 0)
                    .map(|number| {
                        segment(
                            &format!("odd-{round}-{number}"),
                            &format!("[{}:0_{}:0)", number * 2 + 1, number * 2 + 2),
                        )
                    })
                    .collect();
                client.post(&path, &json!(odd)).await.expect(201);
                let flow = 1_000 + round;
                client.make(&audio_flow(flow, flow)).await;
                for number in 0..200 {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let one = format!("{path}?timerange=[{}:0_{}:0)", number * 2 + 1, number * 2 + 2);
                    client.delete(&one).await.expect(204);
                }
                client.delete(&format!("/flows/{}", id(flow))).await.expect(204);
            }
        }
    });
    let expected: Vec<String> = (0..200).map(|number| format!("even-{number:03}")).collect();
    for round in 0..12 {
        let reverse = round % 2 == 1;
        let segments = client.all(&format!("{path}?limit=7&reverse_order={reverse}")).await;
        let ids: Vec<&str> = segments.iter().map(|segment| segment["object_id"].as_str().unwrap()).collect();
        let mut seen: Vec<&str> = ids.iter().copied().filter(|id| id.starts_with("even")).collect();
        if reverse {
            seen.reverse();
        }
        assert_eq!(seen, expected, "round {round}");
        let starts: Vec<i64> = segments
            .iter()
            .map(|segment| segment["timerange"].as_str().unwrap()[1..].split(':').next().unwrap().parse().unwrap())
            .collect();
        assert!(starts.is_sorted_by(|left, right| if reverse { left > right } else { left < right }), "{starts:?}");
        assert!(!writer.is_finished());
    }
    stop.store(true, Ordering::Relaxed);
    writer.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn paging_through_flows_skips_and_repeats_nothing_while_others_write() {
    let app = with_flows(40).await;
    let client = &app.client;
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (client, stop) = (app.client.clone(), stop.clone());
        async move {
            for number in 1_000.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                client.make(&with(audio_flow(number, number), json!({"label": format!("{}", number % 7)}))).await;
                client.put(&format!("/flows/{}/label", id(number)), &json!("x")).await.expect(204);
                client.delete(&format!("/flows/{}", id(number))).await.expect(204);
            }
        }
    });
    for sort in ["created", "label", "metadata_updated"] {
        for reverse in [false, true] {
            let flows = client.all(&format!("/flows?limit=3&sort_by={sort}&reverse_order={reverse}")).await;
            let ids = flows.iter().map(|flow| flow["id"].as_str().unwrap()).filter(|found| **found < *id(1_000));
            let mut ids: Vec<&str> = ids.collect();
            ids.sort_unstable();
            assert_eq!(ids, (1..=40).map(id).collect::<Vec<_>>(), "{sort} {reverse}");
        }
        assert!(!writer.is_finished());
    }
    stop.store(true, Ordering::Relaxed);
    writer.await.unwrap();
}
