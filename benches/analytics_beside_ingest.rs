//! What analytics take from ingest and from players: segments are registered one by one at a steady rate and pages of timeranges
//! are read, for a while alone, then beside clients that ask all canned questions without a pause. `docs/performance.md` has the
//! figures.
//!
//! Settings come from the environment: `TAMSLAKE_BENCH_DATA` (a folder that `tamslake synth` filled; it is written to),
//! `TAMSLAKE_BENCH_RATE` (segments a second, 500), `TAMSLAKE_BENCH_SECONDS` (of each half, 30), `TAMSLAKE_BENCH_CLIENTS` (4),
//! `TAMSLAKE_BENCH_BINARY` (another `tamslake`). Without a folder it makes one of 100,000 segments.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark measures and prints"
)]
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "for people")]

mod server;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use server::Server;

const ENCODERS: u64 = 16;
const READS_A_SECOND: u64 = 40;

fn main() {
    let number = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let rate = number("TAMSLAKE_BENCH_RATE", 500);
    let seconds = Duration::from_secs(number("TAMSLAKE_BENCH_SECONDS", 30));
    let clients = number("TAMSLAKE_BENCH_CLIENTS", 4);
    let kept = std::env::var_os("TAMSLAKE_BENCH_DATA").map(PathBuf::from);
    let temporary =
        kept.is_none().then(|| tempfile::tempdir_in(std::env::current_exe().unwrap().parent().unwrap()).unwrap());
    let data = kept.unwrap_or_else(|| temporary.as_ref().unwrap().path().join("data"));
    if !data.join("catalog/catalog.json").exists() {
        println!("synth: {}", server::synth(&data, 1_000, 100_000));
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let server = Arc::new(Server::start(&data).await);
        let flows = encoders(&server).await;
        let pages = pages(&server).await;
        half("alone", &server, &flows, &pages, rate, seconds).await;

        let running = Arc::new(AtomicBool::new(true));
        let answered = Arc::new(AtomicU64::new(0));
        let refused = Arc::new(Mutex::new(Vec::new()));
        let asking: Vec<_> = (0..clients)
            .map(|client| tokio::spawn(ask(server.clone(), client, running.clone(), answered.clone(), refused.clone())))
            .collect();
        half("beside analytics", &server, &flows, &pages, rate, seconds).await;
        running.store(false, Ordering::Relaxed);
        println!(
            "{clients} clients had {} answers in that time, and {} refusals",
            answered.load(Ordering::Relaxed),
            refused.lock().unwrap().len()
        );
        for said in refused.lock().unwrap().iter().take(5) {
            println!("refused: {said}");
        }
        asking.into_iter().for_each(|asking| asking.abort());
        println!("memory: {}", server.memory());
    });
}

/// Flows of their own to register segments on.
async fn encoders(server: &Server) -> Vec<String> {
    let mut dice = rand::rng();
    let mut flows = Vec::new();
    for _ in 0..ENCODERS {
        let [id, source] = [(); 2].map(|()| {
            let hex = format!("{:032x}", dice.random::<u128>());
            format!("{}-{}-4{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
        });
        let flow = json!({
            "id": id, "source_id": source, "format": "urn:x-nmos:format:video", "codec": "video/h264",
            "container": "video/mp2t", "label": "bench",
            "essence_parameters": { "frame_width": 1920, "frame_height": 1080, "frame_rate": { "numerator": 25 } },
        });
        let url = format!("{}/flows/{id}", server.base);
        let answer = server.client.put(url).json(&flow).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
        flows.push(id);
    }
    flows
}

/// Pages of about a hundred segments, at random places.
async fn pages(server: &Server) -> Vec<String> {
    let sql = "SELECT flow_id, start_seconds FROM flow_segments WHERE start_nanoseconds = 0 LIMIT 20000";
    let url = format!("{}/sql", server.base);
    let answer: Value =
        server.client.post(url).json(&json!({ "sql": sql })).send().await.unwrap().json().await.unwrap();
    let mut dice = StdRng::seed_from_u64(7);
    let rows = answer["rows"].as_array().unwrap();
    let mut pages = Vec::new();
    for _ in 0..2_000 {
        let row = &rows[dice.random_range(0..rows.len())];
        let (flow, start) = (row["flow_id"].as_str().unwrap(), row["start_seconds"].as_i64().unwrap());
        pages.push(format!("/flows/{flow}/segments?limit=100&timerange=[{start}:0_{}:0)", start + 200));
    }
    pages
}

async fn half(what: &str, server: &Arc<Server>, flows: &[String], pages: &[String], rate: u64, seconds: Duration) {
    let started = Instant::now();
    let times = Arc::new(Mutex::new(Vec::new()));
    let first = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let writing = flows.iter().enumerate().map(|(number, flow)| {
        let (server, flow, times) = (server.clone(), flow.clone(), times.clone());
        tokio::spawn(async move {
            let every = Duration::from_secs_f64(ENCODERS as f64 / rate as f64);
            let mut due = tokio::time::interval_at((started + every / ENCODERS as u32 * number as u32).into(), every);
            // As an encoder does: what is late is made up for.
            due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
            let mut count = 0;
            while started.elapsed() < seconds {
                let at = due.tick().await;
                let start = first * 1_000 + count;
                let segment = json!({
                    "object_id": format!("bench/{flow}/{start}"), "timerange": format!("[{start}:0_{}:0)", start + 1),
                    "get_urls": [{ "url": "https://media.example.com/x.ts", "label": "bench" }],
                });
                let url = format!("{}/flows/{flow}/segments", server.base);
                let answer = server.client.post(url).json(&segment).send().await.unwrap();
                assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
                times.lock().unwrap().push(at.elapsed());
                count += 1;
            }
        })
    });
    let writing: Vec<_> = writing.collect();
    let reading = tokio::spawn({
        let (server, pages) = (server.clone(), pages.to_vec());
        async move {
            let mut due = tokio::time::interval(Duration::from_millis(1_000 / READS_A_SECOND));
            let mut times = Vec::new();
            let mut next = pages.iter().cycle();
            while started.elapsed() < seconds {
                due.tick().await;
                let asked = Instant::now();
                server.get(next.next().unwrap()).await;
                times.push(asked.elapsed());
            }
            times
        }
    });
    for writing in writing {
        writing.await.unwrap();
    }
    let took = started.elapsed().as_secs_f64();
    let mut reads = reading.await.unwrap();
    let mut writes = std::mem::take(&mut *times.lock().unwrap());
    println!("{what}: {:.0} segments/s registered", writes.len() as f64 / took);
    println!("  from when it was due to its answer: {}", spread(&mut writes));
    println!("  a page of a timerange: {}", spread(&mut reads));
}

fn spread(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() * share / 1_000).min(times.len() - 1)].as_secs_f64() * 1_000.0;
    format!(
        "median {:.1} ms, p95 {:.1}, p99 {:.1}, longest {:.1} ms; {}",
        at(500),
        at(950),
        at(990),
        at(1_000),
        times.len()
    )
}

/// Asks all questions in one order or another until it is told to stop.
async fn ask(
    server: Arc<Server>,
    client: u64,
    running: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    refused: Arc<Mutex<Vec<String>>>,
) {
    let list = server.get("/analytics").await;
    let names: Vec<String> =
        list["questions"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect();
    let mut dice = StdRng::seed_from_u64(client);
    while running.load(Ordering::Relaxed) {
        let name = &names[dice.random_range(0..names.len())];
        let answer = server.client.get(format!("{}/analytics/{name}", server.base)).send().await.unwrap();
        if answer.status().is_success() {
            // An answer may break off at a limit.
            let whole = answer.bytes().await.is_ok();
            answered.fetch_add(u64::from(whole), Ordering::Relaxed);
        } else {
            let said = format!("{name}: {} {}", answer.status(), answer.text().await.unwrap_or_default());
            refused.lock().unwrap().push(said.chars().take(300).collect());
        }
    }
}
