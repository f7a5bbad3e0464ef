//! A server in this process and a client lean enough not to be what is measured.

#![allow(dead_code, reason = "each benchmark uses a part")]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tamslake::app::App;
use tamslake::clock::Clock;
use tamslake::config::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

pub const FLOW: &str = "00000000-0000-4000-8000-000000000001";

pub struct Server {
    pub address: SocketAddr,
    _folder: tempfile::TempDir,
}

/// Starts a server with default settings on an empty folder (below the build folder: a real disk, not tmpfs).
pub fn start(runtime: &Runtime) -> Server {
    let folder = tempfile::tempdir_in(std::env::current_exe().unwrap().parent().unwrap()).unwrap();
    let mut config = Config::default();
    config.data.dir = folder.path().to_owned();
    config.http.listen = "127.0.0.1:0".parse().unwrap();
    let address = runtime.block_on(async {
        let app = App::open(config, Clock::system()).await.unwrap();
        let listening = app.listen().await.unwrap();
        let address = listening.address;
        tokio::spawn(app.serve(listening, std::future::pending()));
        address
    });
    let server = Server { address, _folder: folder };
    let flow = format!(
        r#"{{"id":"{FLOW}","source_id":"00000000-0000-4000-8000-000000000002","format":"urn:x-nmos:format:video",
        "codec":"video/h264","container":"video/mp2t",
        "essence_parameters":{{"frame_width":1920,"frame_height":1080,"frame_rate":{{"numerator":50}}}}}}"#
    );
    let request = request("PUT", &format!("/flows/{FLOW}"), &flow);
    runtime.block_on(async { Connection::open(address).await.send(&request, 201).await });
    server
}

pub fn request(method: &str, path: &str, body: &str) -> Vec<u8> {
    let head = format!("{method} {path} HTTP/1.1\r\nhost: tams.local\r\ncontent-type: application/json\r\n");
    format!("{head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// One segment whose bytes live elsewhere.
pub fn segment(number: u64) -> String {
    format!(
        r#"{{"object_id":"bench/{number:012}.ts","timerange":"[{number}:0_{}:0)","get_urls":[{{"url":"https://media.example/bench/{number:012}.ts","label":"cdn"}}]}}"#,
        number + 1
    )
}

/// A keep-alive HTTP/1.1 connection that reads no more of an answer than it must.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: vec![0; 256 * 1024] }
    }

    /// Sends a request, expects a status, and returns the body's length.
    pub async fn send(&mut self, request: &[u8], status: u16) -> usize {
        self.stream.write_all(request).await.unwrap();
        let mut filled = 0;
        loop {
            if filled == self.buffer.len() {
                self.buffer.resize(filled * 2, 0);
            }
            let read = self.stream.read(&mut self.buffer[filled..]).await.unwrap();
            assert!(read > 0, "the server closed the connection");
            filled += read;
            let Some(end) = self.buffer[..filled].windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            let head = std::str::from_utf8(&self.buffer[..end]).unwrap();
            assert!(head[9..].starts_with(&status.to_string()), "{head}");
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse::<usize>().unwrap());
            while filled < end + 4 + length {
                if filled == self.buffer.len() {
                    self.buffer.resize(filled * 2, 0);
                }
                let read = self.stream.read(&mut self.buffer[filled..]).await.unwrap();
                assert!(read > 0, "the server closed the connection");
                filled += read;
            }
            return length;
        }
    }

    pub fn body(&self, length: usize) -> &[u8] {
        let end = self.buffer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        &self.buffer[end + 4..end + 4 + length]
    }
}

/// Time for `count` requests over `connections`, and the latency of each.
pub fn run(
    runtime: &Runtime,
    address: SocketAddr,
    connections: u64,
    count: u64,
    status: u16,
    make: impl Fn(u64) -> Vec<u8> + Send + Sync + 'static,
) -> (Duration, Vec<Duration>) {
    runtime.block_on(async {
        let make = std::sync::Arc::new(make);
        let next = std::sync::Arc::new(AtomicU64::new(0));
        let mut open = Vec::new();
        for _ in 0..connections.min(count) {
            open.push(Connection::open(address).await);
        }
        let started = Instant::now();
        let workers = open.into_iter().map(|mut connection| {
            let (make, next) = (make.clone(), next.clone());
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return latencies;
                    }
                    let request = make(number);
                    let sent = Instant::now();
                    connection.send(&request, status).await;
                    latencies.push(sent.elapsed());
                }
            })
        });
        let mut latencies = Vec::new();
        for worker in workers.collect::<Vec<_>>() {
            latencies.extend(worker.await.unwrap());
        }
        (started.elapsed(), latencies)
    })
}

/// One line: rate, median and p99.
pub fn report(what: &str, elapsed: Duration, mut latencies: Vec<Duration>) {
    latencies.sort_unstable();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].as_secs_f64() * 1_000.0;
    println!(
        "{what}: {:.0} requests/s, median {:.2} ms, p99 {:.2} ms ({} requests)",
        latencies.len() as f64 / elapsed.as_secs_f64(),
        at(0.5),
        at(0.99),
        latencies.len()
    );
}
