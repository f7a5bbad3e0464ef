//! SQL over HTTP, and the canned questions.

use std::time::Duration;

use serde_json::{Value, json};
use tamslake::clock::Clock;
use tamslake::config::{QueryEngine, Span};

use crate::helpers::{Answer, Client, TestApp, id, object_path, video_flow};

pub const ENGINES: [&str; 2] = ["datafusion", "duckdb"];

pub async fn sql(client: &Client, engine: &str, query: &str) -> Answer {
    client.post(&format!("/sql?engine={engine}"), &json!({ "sql": query })).await
}

pub async fn rows(client: &Client, engine: &str, query: &str) -> Value {
    sql(client, engine, query).await.expect(200).json["rows"].clone()
}

pub async fn with_segments(app: &TestApp) {
    app.client.make(&video_flow(1, 7)).await;
    for (object, timerange) in [("a", "[0:0_10:0)"), ("b", "[10:0_20:500000000)"), ("c", "[25:0_30:0)")] {
        app.client.register(1, object, timerange).await;
    }
}

#[tokio::test]
async fn both_engines_answer_with_the_same_rows_and_say_what_they_saw() {
    let app = TestApp::start().await;
    with_segments(&app).await;
    for engine in ENGINES {
        let answer = sql(
            &app.client,
            engine,
            "SELECT object_id, timerange, duration_s, duration_ns, start_seconds FROM flow_segments \
             WHERE start_seconds >= 10 ORDER BY start_seconds",
        )
        .await
        .expect(200);
        assert_eq!(answer.header("x-tamslake-engine"), Some(engine));
        let lsn: u64 = answer.header("x-tamslake-lsn").unwrap().parse().unwrap();
        assert_eq!((&answer.json["lsn"], &answer.json["engine"]), (&lsn.into(), &engine.into()));
        assert_eq!(answer.json["columns"][0], json!({ "name": "object_id", "type": "text" }), "{engine}");
        let rows = answer.json["rows"].as_array().unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0]["timerange"], "[10:0_20:500000000)", "{engine}");
        assert_eq!(rows[0]["duration_s"], 10.5, "{engine}");
        assert_eq!(rows[0]["duration_ns"].as_f64(), Some(10.5e9), "{engine}");
        assert_eq!(answer.json["row_count"], 2);
    }
}

#[tokio::test]
async fn rows_come_in_the_form_that_the_client_accepts() {
    let app = TestApp::start().await;
    with_segments(&app).await;
    let query =
        json!({ "sql": "SELECT object_id, start_seconds AS s, NULL AS n FROM flow_segments ORDER BY s LIMIT 2" });
    for engine in ENGINES {
        for (accept, kind, text) in [
            ("text/csv", "text/csv; charset=utf-8; header=present", "object_id,s,n\na,0,\nb,10,\n"),
            (
                "application/x-ndjson",
                "application/x-ndjson",
                "{\"object_id\":\"a\",\"s\":0,\"n\":null}\n{\"object_id\":\"b\",\"s\":10,\"n\":null}\n",
            ),
        ] {
            let response = reqwest::Client::new()
                .post(app.client.url(&format!("/sql?engine={engine}")))
                .header("accept", accept)
                .header("content-type", "application/json")
                .body(query.to_string())
                .send()
                .await
                .unwrap();
            assert_eq!(response.headers()["content-type"], kind);
            assert_eq!(response.text().await.unwrap(), text, "{engine}");
        }
        let arrow = reqwest::Client::new()
            .post(app.client.url(&format!("/sql?engine={engine}&format=arrow")))
            .header("content-type", "application/json")
            .body(query.to_string())
            .send()
            .await
            .unwrap();
        let bytes = arrow.bytes().await.unwrap();
        let reader = arrow::ipc::reader::StreamReader::try_new(&bytes[..], None).unwrap();
        assert_eq!(reader.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 2, "{engine}");
    }
}

#[tokio::test]
async fn values_for_placeholders_are_taken_by_number_and_by_name() {
    let app = TestApp::start().await;
    with_segments(&app).await;
    for engine in ENGINES {
        for (query, params) in [
            ("SELECT count(*) AS n FROM flow_segments WHERE object_id = $1 OR start_seconds > $2", json!(["a", 20])),
            (
                "SELECT count(*) AS n FROM flow_segments WHERE object_id = $o OR start_seconds > $s",
                json!({ "o": "a", "s": 20 }),
            ),
        ] {
            let body = json!({ "sql": query, "params": params });
            let answer = app.client.post(&format!("/sql?engine={engine}"), &body).await.expect(200);
            assert_eq!(answer.json["rows"], json!([{ "n": 2 }]), "{engine} {query}");
        }
        let body = json!({ "sql": "SELECT $1 AS n", "params": [[1]] });
        app.client.post(&format!("/sql?engine={engine}"), &body).await.expect(400);
        let body = json!({ "sql": "SELECT object_id FROM flow_segments WHERE object_id = $1" });
        app.client.post(&format!("/sql?engine={engine}"), &body).await.expect(400);
    }
}

#[tokio::test]
async fn an_earlier_state_is_asked_by_lsn_or_moment() {
    let clock = Clock::manual("2026-01-01T00:00:00Z".parse().unwrap(), 5);
    let app = TestApp::with(|_| {}, clock.clone()).await;
    app.client.make(&video_flow(1, 7)).await;
    let mut places = Vec::new();
    for number in 0..3 {
        clock.advance(Duration::from_secs(60));
        app.client.register(1, &format!("o{number}"), &format!("[{number}:0_{}:0)", number + 1)).await;
        places.push(sql(&app.client, "datafusion", "SELECT 1").await.json["lsn"].as_u64().unwrap());
    }
    let count = "SELECT count(*) AS n FROM flow_segments";
    for engine in ENGINES {
        for (number, lsn) in (1..).zip(&places) {
            let expected = json!([{ "n": number }]);
            assert_eq!(rows(&app.client, engine, &format!("{count} AS OF LSN {lsn}")).await, expected, "{engine}");
            let at = format!("{count} AS OF TIMESTAMP '2026-01-01T00:0{number}:30Z';");
            assert_eq!(rows(&app.client, engine, &at).await, expected, "{engine}");
            let by_url = format!("/sql?engine={engine}&as_of={lsn}");
            let answer = app.client.post(&by_url, &json!({ "sql": count })).await.expect(200);
            assert_eq!((&answer.json["rows"], &answer.json["lsn"]), (&expected, &(*lsn).into()));
        }
        let answer = sql(&app.client, engine, &format!("{count} AS OF LSN 1000000")).await.expect(400);
        assert_eq!(answer.error_type(), "as_of_out_of_reach");
    }
}

/// A row is in SQL's answers as soon as its POST was answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_there_as_soon_as_its_post_was_answered_a_thousand_times() {
    let app = TestApp::start().await;
    app.client.make(&video_flow(1, 7)).await;
    let count = "SELECT count(*) AS n, max(end_seconds) AS last FROM raw.flow_segments";
    for number in 1..=1_000 {
        app.client.register(1, &format!("o{number}"), &format!("[{}:0_{number}:0)", number - 1)).await;
        for engine in ENGINES {
            let expected = json!([{ "n": number, "last": number }]);
            assert_eq!(rows(&app.client, engine, count).await, expected, "{engine}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_ends_when_its_client_goes() {
    let one = |config: &mut tamslake::config::Config| {
        config.query.max_running = 1;
        config.query.max_running_of_caller = 1;
        config.query.patience = Span(Duration::from_secs(30));
        config.query.timeout = Span(Duration::from_secs(600));
    };
    let app = TestApp::with(one, Clock::system()).await;
    for engine in ENGINES {
        let endless =
            "SELECT count(*) FROM generate_series(1, 1000000) a(x), generate_series(1, 100000000) b(y) WHERE x + y = 7";
        let asking = tokio::time::timeout(Duration::from_millis(300), sql(&app.client, engine, endless)).await;
        assert!(asking.is_err(), "{engine}: {:?}", asking.map(|answer| answer.json));
        // There is one place, and the client that had it is gone.
        assert_eq!(rows(&app.client, engine, "SELECT 1 AS n").await, json!([{ "n": 1 }]), "{engine}");
    }
}

#[tokio::test]
async fn questions_are_listed_and_answered() {
    let app = TestApp::start().await;
    with_segments(&app).await;
    let list = app.client.get("/analytics").await.expect(200);
    let questions = list.json["questions"].as_array().unwrap();
    assert_eq!(questions.len(), 26);
    for question in questions {
        let path = question["path"].as_str().unwrap();
        let required = question["parameters"].as_array().unwrap().iter().any(|p| p["required"] == true);
        for engine in ENGINES {
            let answer = app.client.get(&format!("{path}?engine={engine}")).await;
            let status = answer.status.as_u16();
            assert!(status == 200 || required, "{path} on {engine}: {status} {}", answer.json);
        }
    }
    let gaps = app.client.get("/analytics/gaps?tolerance_seconds=1").await.expect(200);
    assert_eq!(gaps.json["rows"][0]["timerange"], "[20:500000000_25:0)");
    assert_eq!(gaps.json["row_count"], 1);
    assert_eq!(app.client.get("/analytics/gaps?tolerance_seconds=5").await.json["row_count"], 0);
    let csv = reqwest::get(app.client.url("/analytics/gaps?as=csv")).await.unwrap().text().await.unwrap();
    assert!(csv.starts_with("flow_id,flow_label,source_id,timerange,"), "{csv}");
    app.client.get("/analytics/nonsense").await.expect(404);
    let wrong = app.client.get("/analytics/gaps?flow_id=x").await.expect(400);
    assert_eq!(wrong.json["message"][0]["loc"], json!(["query", "flow_id"]));
    app.client.get("/analytics/gaps?flwo_id=x").await.expect(400);
}

#[tokio::test]
async fn the_paths_of_earlier_clients_lead_to_the_fields_that_they_know() {
    let app = TestApp::start().await;
    for (path, fields) in [
        (
            "/flow-usage",
            &[
                "total_flows",
                "format_distribution",
                "resolution_distribution",
                "codec_distribution",
                "estimated_storage_bytes",
                "average_flow_size",
                "time_range",
            ][..],
        ),
        (
            "/storage-usage",
            &[
                "total_objects",
                "total_size_bytes",
                "average_size_bytes",
                "size_distribution",
                "most_accessed",
                "least_accessed",
                "average_access_count",
                "storage_efficiency",
                "time_range",
            ],
        ),
        (
            "/time-range-analysis",
            &[
                "total_segments",
                "average_duration_seconds",
                "min_duration_seconds",
                "max_duration_seconds",
                "total_duration_seconds",
                "duration_statistics",
                "coverage",
                "duration_distribution",
                "time_coverage",
                "time_range",
            ],
        ),
        ("/analytics/summary", &["counts", "storage", "formats", "time"]),
    ] {
        for full in [false, true] {
            if full && path == "/flow-usage" {
                with_segments(&app).await;
            }
            // The client follows the redirect.
            let body = app.client.get(&format!("{path}?start_time=0&end_time=100")).await;
            let body = if body.status.as_u16() == 400 { app.client.get(path).await } else { body }.expect(200).json;
            for field in fields {
                assert!(body.get(field).is_some(), "{path} lacks {field}: {body}");
            }
        }
    }
    let usage = app.client.get("/flow-usage").await.expect(200).json;
    assert_eq!(usage["total_flows"], 1);
    assert_eq!(usage["format_distribution"], json!({ "urn:x-nmos:format:video": 1 }));
    let sources = app.client.get("/analytics/sources").await.expect(200).json;
    assert_eq!(sources[0]["segment_count"], 3);
    let flows = app.client.get("/analytics/flows").await.expect(200).json;
    assert_eq!((&flows[0]["flow_id"], &flows[0]["total_duration_seconds"]), (&id(1).into(), &25.5.into()));
}

#[tokio::test]
async fn sizes_of_uploaded_objects_are_in_sql_and_not_in_tams() {
    let app = TestApp::start().await;
    app.client.make(&video_flow(1, 7)).await;
    let urls = app.client.allocate(1, &["o"]).await;
    let put = reqwest::Client::new().put(&urls[0]).header("content-type", "video/mp2t").body(vec![7u8; 12_345]);
    assert!(put.send().await.unwrap().status().is_success());
    app.client.register(1, "o", "[0:0_1:0)").await;
    for engine in ENGINES {
        let found = rows(&app.client, engine, "SELECT size_bytes FROM objects").await;
        assert_eq!(found, json!([{ "size_bytes": 12_345 }]), "{engine}");
        let backend =
            rows(&app.client, engine, "SELECT is_default, free_bytes > 0 AS has_room FROM storage_backends").await;
        assert_eq!(backend, json!([{ "is_default": true, "has_room": true }]), "{engine}");
    }
    assert!(!app.client.get(&object_path("o")).await.expect(200).json.to_string().contains("12345"));
}

#[tokio::test]
async fn the_configuration_says_which_engine_answers() {
    let duck = |config: &mut tamslake::config::Config| config.query.engine = QueryEngine::DuckDb;
    let app = TestApp::with(duck, Clock::system()).await;
    let answer = app.client.post("/sql", &json!({ "sql": "SELECT 1 AS n" })).await.expect(200);
    assert_eq!(answer.json["engine"], "duckdb");
    let events = "SELECT count(*) > 0 AS there FROM events WHERE kind = 'flows/created'";
    app.client.make(&video_flow(1, 7)).await;
    for engine in ENGINES {
        assert_eq!(rows(&app.client, engine, events).await, json!([{ "there": true }]), "{engine}");
        let columns = "SELECT count(*) > 100 AS many FROM columns WHERE description <> ''";
        assert_eq!(rows(&app.client, engine, columns).await, json!([{ "many": true }]), "{engine}");
    }
    app.client.post("/sql?engine=postgres", &json!({ "sql": "SELECT 1" })).await.expect(400);
}
