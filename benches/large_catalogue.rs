//! A catalogue of millions of segments on disk: how long a server takes to be ready, how much memory it takes, how long a page
//! of a timerange takes that nobody asked for before and one that somebody did, how long a deletion of a million segments
//! takes to be answered, and how many bytes of Parquet a segment takes. `docs/performance.md` has the figures.
//!
//! Settings come from the environment: `TAMSLAKE_BENCH_SEGMENTS` (1,000,000), `TAMSLAKE_BENCH_FLOWS` (1,000),
//! `TAMSLAKE_BENCH_DATA` (a folder that is kept and used again), `TAMSLAKE_BENCH_BINARY` (another `tamslake`).

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark measures and prints"
)]
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "for people")]

mod server;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use server::{Server, synth, tamslake};

const PAGES: usize = 2_000;
const WARM_PAGES: usize = 40;
/// Seconds of a Flow's timeline in one question: about a hundred segments.
const WITHIN: i64 = 200;

fn main() {
    let number = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let segments = number("TAMSLAKE_BENCH_SEGMENTS", 1_000_000);
    let flows = number("TAMSLAKE_BENCH_FLOWS", 1_000);
    let kept = std::env::var_os("TAMSLAKE_BENCH_DATA").map(PathBuf::from);
    let temporary =
        kept.is_none().then(|| tempfile::tempdir_in(std::env::current_exe().unwrap().parent().unwrap()).unwrap());
    let data = kept.unwrap_or_else(|| temporary.as_ref().unwrap().path().join("data"));
    let runtime = tokio::runtime::Runtime::new().unwrap();

    if !data.join("catalog/catalog.json").exists() {
        println!("synth: {}", synth(&data, flows, segments));
    }
    runtime.block_on(read(&data));
    let summary = tamslake(&["compact", "--json"], &data);
    println!("compact: {summary}");
    println!("bytes of Parquet a segment, all tables together: {:.1}", bytes_a_segment(&summary));
    runtime.block_on(read(&data));
    let million = data.with_extension("one-flow");
    if !million.join("catalog/catalog.json").exists() {
        println!("synth: {}", synth(&million, 1, 1_000_000));
    }
    runtime.block_on(delete(&million));
    std::fs::remove_dir_all(million).unwrap();
}

/// All tables together, as `compact` leaves them.
fn bytes_a_segment(summary: &str) -> f64 {
    let summary: Value = serde_json::Deserializer::from_str(summary).into_iter().next().unwrap().unwrap();
    let tables = summary["tables"].as_object().unwrap();
    let bytes: u64 = tables.values().map(|table| table["after"]["bytes"].as_u64().unwrap()).sum();
    bytes as f64 / tables["flow_segments"]["after"]["rows"].as_u64().unwrap() as f64
}

async fn read(data: &Path) {
    // Needs rights; without them the system's own cache is as warm as it is.
    let dropped = std::fs::write("/proc/sys/vm/drop_caches", "3").is_ok();
    println!("the system's file cache {} emptied before", if dropped { "was" } else { "could not be" });
    let server = Server::start(data).await;
    let mut dice = StdRng::seed_from_u64(7);
    let mut flows: Vec<String> = Vec::new();
    let mut path = "/flows?limit=1000".to_owned();
    loop {
        let answer = server.client.get(format!("{}{path}", server.base)).send().await.unwrap();
        let next = answer.headers().get("link").and_then(|link| link.to_str().ok()).and_then(|link| {
            let next = link.split(',').find(|link| link.contains("rel=\"next\""))?;
            next.split(['<', '>']).nth(1).map(|url| url.trim_start_matches(server.base.as_str()).to_owned())
        });
        let page: Vec<Value> = answer.json().await.unwrap();
        flows.extend(page.iter().map(|flow| flow["id"].as_str().unwrap().to_owned()));
        match next {
            Some(next) => path = next,
            None => break,
        }
    }
    let mut pages: Vec<String> = Vec::new();
    while pages.len() < PAGES {
        let flow = &flows[dice.random_range(0..flows.len())];
        let timerange = server.get(&format!("/flows/{flow}?include_timerange=true")).await["timerange"].clone();
        let Some((start, end)) = timerange.as_str().and_then(|text| text.split_once('_')) else { continue };
        let second = |text: &str| text.trim_matches(['[', ']', '(', ')']).split(':').next().unwrap().parse::<i64>();
        let (Ok(start), Ok(end)) = (second(start), second(end)) else { continue };
        let from = dice.random_range(start..=(end - WITHIN).max(start));
        pages.push(format!("/flows/{flow}/segments?limit=100&timerange=[{from}:0_{}:0)", from + WITHIN));
    }
    measure(&server, "a page that nobody asked for", pages.iter()).await;
    let warm = &pages[..WARM_PAGES];
    for page in warm {
        server.get(page).await;
    }
    measure(&server, "a page that was asked for before", warm.iter().cycle().take(PAGES)).await;
    println!("memory while serving: {}", server.memory());
}

async fn measure(server: &Server, what: &str, pages: impl Iterator<Item = &String>) {
    let (mut times, mut segments) = (Vec::new(), 0);
    for page in pages {
        let started = Instant::now();
        let answer = server.client.get(format!("{}{page}", server.base)).send().await.unwrap().bytes().await.unwrap();
        times.push(started.elapsed());
        let items: Vec<Value> = serde_json::from_slice(&answer).unwrap();
        segments += items.len();
    }
    times.sort_unstable();
    let at = |share: usize| times[(times.len() * share / 1_000).min(times.len() - 1)].as_secs_f64() * 1_000.0;
    println!(
        "{what}: median {:.2} ms, p99 {:.2} ms, longest {:.2} ms; {} pages of {:.0} segments",
        at(500),
        at(990),
        at(1_000),
        times.len(),
        segments as f64 / times.len() as f64
    );
}

async fn delete(data: &Path) {
    let server = Server::start(data).await;
    let flows = server.get("/flows").await;
    for flow in flows.as_array().unwrap() {
        let url = format!("{}/flows/{}/segments", server.base, flow["id"].as_str().unwrap());
        let started = Instant::now();
        let answer = server.client.delete(url).send().await.unwrap();
        println!(
            "a million segments deleted: answered with {} after {:.1} ms",
            answer.status(),
            started.elapsed().as_secs_f64() * 1_000.0
        );
        let Some(request) = answer.json::<Value>().await.ok().and_then(|body| Some(body["id"].as_str()?.to_owned()))
        else {
            continue;
        };
        loop {
            let status = server.get(&format!("/flow-delete-requests/{request}")).await["status"].clone();
            if status == "done" {
                break;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        println!("worked off after {:.1} s; memory: {}", started.elapsed().as_secs_f64(), server.memory());
    }
}
