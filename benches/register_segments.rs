//! How many segments a second are registered durably: one a request over 64 connections, and 1,000 a request.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark measures and prints"
)]
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "for people")]

mod load;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use load::{FLOW, report, request, run, segment, start};

const CONNECTIONS: u64 = 64;
const BULK: u64 = 1_000;

fn register_segments(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = start(&runtime);
    let path = format!("/flows/{FLOW}/segments");
    // Numbers never come twice, or segments would overlap.
    let next = Arc::new(AtomicU64::new(0));
    let single = {
        let (next, path) = (next.clone(), path.clone());
        move |_| request("POST", &path, &segment(next.fetch_add(1, Ordering::Relaxed)))
    };
    let bulk = {
        let next = next.clone();
        move |_| {
            let first = next.fetch_add(BULK, Ordering::Relaxed);
            let items: Vec<String> = (first..first + BULK).map(segment).collect();
            request("POST", &path, &format!("[{}]", items.join(",")))
        }
    };

    let mut group = criterion.benchmark_group("register_segments");
    group.sample_size(10);
    group.throughput(Throughput::Elements(1));
    group.bench_function("single_64_connections", |bencher| {
        bencher.iter_custom(|count| run(&runtime, server.address, CONNECTIONS, count, 201, single.clone()).0);
    });
    group.throughput(Throughput::Elements(BULK));
    group.bench_function("bulk_1000_4_connections", |bencher| {
        bencher.iter_custom(|count| run(&runtime, server.address, 4, count, 201, bulk.clone()).0);
    });
    group.finish();

    let (elapsed, latencies) = run(&runtime, server.address, 1, 2_000, 201, single.clone());
    report("single, 1 connection", elapsed, latencies);
    let (elapsed, latencies) = run(&runtime, server.address, CONNECTIONS, 50_000, 201, single);
    report("single, 64 connections", elapsed, latencies);
    let (elapsed, latencies) = run(&runtime, server.address, 4, 200, 201, bulk);
    report("bulk of 1,000, 4 connections", elapsed, latencies);
}

criterion_group!(benches, register_segments);
criterion_main!(benches);
