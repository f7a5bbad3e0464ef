//! A page of 100 segments in a timerange, with signed URLs, beside a static handler with a body of the same size.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark measures and prints"
)]
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "for people")]

mod load;

use std::net::SocketAddr;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use load::{Connection, FLOW, report, request, run, start};
use poem::listener::{Acceptor, Listener, TcpListener};
use poem::{Response, Route, Server, endpoint::make_sync};
use tokio::runtime::Runtime;

const SEGMENTS: u64 = 10_000;
const PAGE: u64 = 100;
const CONNECTIONS: u64 = 16;

/// Segments whose media this server keeps, so that each needs a signed URL. The bytes themselves are not asked for.
fn fill(runtime: &Runtime, address: SocketAddr) {
    runtime.block_on(async {
        let mut connection = Connection::open(address).await;
        for first in (0..SEGMENTS).step_by(1_000) {
            let ids: Vec<String> = (first..first + 1_000).map(|n| format!("\"bench/{n:012}.ts\"")).collect();
            let body = format!("{{\"object_ids\":[{}]}}", ids.join(","));
            connection.send(&request("POST", &format!("/flows/{FLOW}/storage"), &body), 201).await;
            let items: Vec<String> = (first..first + 1_000)
                .map(|n| format!("{{\"object_id\":\"bench/{n:012}.ts\",\"timerange\":\"[{n}:0_{}:0)\"}}", n + 1))
                .collect();
            let body = format!("[{}]", items.join(","));
            connection.send(&request("POST", &format!("/flows/{FLOW}/segments"), &body), 201).await;
        }
    });
}

fn get(number: u64) -> Vec<u8> {
    // Pages all over the timeline, in no order.
    let from = number * 7_919 % (SEGMENTS - PAGE);
    request("GET", &format!("/flows/{FLOW}/segments?timerange=[{from}:0_{}:0)", from + PAGE), "")
}

/// What poem can do at most: the same bytes, made beforehand.
fn static_handler(runtime: &Runtime, body: Vec<u8>) -> SocketAddr {
    runtime.block_on(async {
        let acceptor = TcpListener::bind("127.0.0.1:0").into_acceptor().await.unwrap();
        let address = *acceptor.local_addr()[0].as_socket_addr().unwrap();
        let body = bytes::Bytes::from(body);
        let handler = make_sync(move |_| Response::builder().content_type("application/json").body(body.clone()));
        tokio::spawn(Server::new_with_acceptor(acceptor).run(Route::new().at("/", handler)));
        address
    })
}

fn segments_in_timerange(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let server = start(&runtime);
    fill(&runtime, server.address);
    let body = runtime.block_on(async {
        let mut connection = Connection::open(server.address).await;
        let length = connection.send(&get(1), 200).await;
        connection.body(length).to_vec()
    });
    let size = body.len();
    let fixed = static_handler(&runtime, body);
    let get_fixed = |_| request("GET", "/", "");

    let mut group = criterion.benchmark_group("segments_in_timerange");
    group.sample_size(10);
    group.throughput(Throughput::Elements(1));
    group.bench_function("page_of_100", |bencher| {
        bencher.iter_custom(|count| run(&runtime, server.address, CONNECTIONS, count, 200, get).0);
    });
    group.bench_function("static_handler_same_size", |bencher| {
        bencher.iter_custom(|count| run(&runtime, fixed, CONNECTIONS, count, 200, get_fixed).0);
    });
    group.finish();

    println!("a page has {size} bytes");
    let (elapsed, latencies) = run(&runtime, server.address, CONNECTIONS, 30_000, 200, get);
    report("100-segment timerange GET, 16 connections", elapsed, latencies);
    let (elapsed, latencies) = run(&runtime, fixed, CONNECTIONS, 60_000, 200, get_fixed);
    report("static handler of the same size, 16 connections", elapsed, latencies);
}

criterion_group!(benches, segments_in_timerange);
criterion_main!(benches);
