//! A receiver of webhooks that can misbehave: be down, refuse, redirect, or take for ever.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Longer than anything here may take.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone)]
pub enum Mode {
    /// Answers with this status and these header lines.
    Answer(u16, String),
    Hang,
}

/// An event that arrived.
#[derive(Debug, Clone)]
pub struct Received {
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub json: Value,
    /// Whether it was answered with 2xx.
    pub taken: bool,
}

impl Received {
    pub fn kind(&self) -> &str {
        self.json["event_type"].as_str().unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

pub struct Receiver {
    address: SocketAddr,
    mode: Arc<Mutex<Mode>>,
    received: watch::Sender<Vec<Received>>,
    accepting: Option<JoinHandle<()>>,
}

impl Receiver {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mode = Arc::new(Mutex::new(Mode::Answer(200, String::new())));
        let address = listener.local_addr().unwrap();
        let mut receiver = Self { address, mode, received: watch::Sender::default(), accepting: None };
        receiver.accept(listener);
        receiver
    }

    fn accept(&mut self, listener: TcpListener) {
        let (mode, received) = (self.mode.clone(), self.received.clone());
        self.accepting = Some(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(take(stream, mode.clone(), received.clone()));
            }
        }));
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub fn mode(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    pub fn answer(&self, status: u16) {
        self.mode(Mode::Answer(status, String::new()));
    }

    /// Nobody listens any more.
    pub async fn go_down(&mut self) {
        let accepting = self.accepting.take().unwrap();
        accepting.abort();
        let _ = accepting.await;
    }

    pub async fn come_back(&mut self) {
        self.accept(TcpListener::bind(self.address).await.unwrap());
    }

    /// Everything that arrived, also what was refused.
    pub fn all(&self) -> Vec<Received> {
        self.received.borrow().clone()
    }

    /// What was answered with 2xx.
    pub fn taken(&self) -> Vec<Received> {
        self.received.borrow().iter().filter(|event| event.taken).cloned().collect()
    }

    /// Waits until what has arrived is as it should be.
    #[track_caller]
    pub fn until<'a>(&'a self, done: impl Fn(&[Received]) -> bool + 'a) -> impl Future<Output = ()> + 'a {
        let place = std::panic::Location::caller();
        async move {
            let mut received = self.received.subscribe();
            let waited = tokio::time::timeout(PATIENCE, received.wait_for(|events| done(events))).await;
            assert!(waited.is_ok(), "{place}: it never arrived; this did: {:#?}", self.all());
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(accepting) = &self.accepting {
            accepting.abort();
        }
    }
}

/// One request, one answer, then the connection is closed.
async fn take(stream: TcpStream, mode: Arc<Mutex<Mode>>, received: watch::Sender<Vec<Received>>) {
    let mut stream = BufReader::new(stream);
    let (mut headers, mut line) = (Vec::new(), String::new());
    loop {
        line.clear();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        match line.trim().split_once(": ") {
            Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.to_owned())),
            None if line.trim().is_empty() => break,
            None => {}
        }
    }
    let length = headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, n)| n.parse().unwrap());
    let mut body = vec![0; length];
    if stream.read_exact(&mut body).await.is_err() {
        return;
    }
    let mode = mode.lock().unwrap().clone();
    let taken = matches!(mode, Mode::Answer(200..300, _));
    let json = serde_json::from_slice(&body).unwrap();
    received.send_modify(|all| all.push(Received { headers, json, taken }));
    match mode {
        Mode::Answer(status, more) => {
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n{more}\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
        Mode::Hang => std::future::pending().await,
    }
}
