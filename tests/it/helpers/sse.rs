//! Readers of event streams.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Client;

const PATIENCE: Duration = Duration::from_secs(30);

/// An event as the stream told it.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    pub id: String,
    pub kind: String,
    pub json: Value,
}

/// Server-Sent Events.
pub struct Sse {
    response: reqwest::Response,
    text: String,
    /// Comments that kept the connection alive.
    pub heartbeats: usize,
}

impl Sse {
    pub async fn open(client: &Client, query: &str, last_event_id: Option<&str>) -> Self {
        let mut request = client.http.get(client.url(&format!("/events?{query}")));
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, text: String::new(), heartbeats: 0 }
    }

    /// `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<Told> {
        loop {
            while let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                let value = |key: &str| block.lines().find_map(|line| line.strip_prefix(key)).map(str::to_owned);
                match value("data: ") {
                    Some(data) => {
                        let json = serde_json::from_str(&data).unwrap();
                        return Some(Told { id: value("id: ").unwrap(), kind: value("event: ").unwrap(), json });
                    }
                    None => self.heartbeats += usize::from(block.starts_with(':')),
                }
            }
            let block = tokio::time::timeout(PATIENCE, self.response.chunk()).await.unwrap();
            self.text += std::str::from_utf8(&block.ok()??).unwrap();
        }
    }

    /// Up to and with the first that is as wanted.
    pub async fn until(&mut self, last: impl Fn(&Told) -> bool) -> Vec<Told> {
        let mut told = Vec::new();
        loop {
            told.push(self.next().await.unwrap());
            if told.last().is_some_and(&last) {
                return told;
            }
        }
    }
}

/// A WebSocket client that only listens.
pub struct Socket(TcpStream);

impl Socket {
    pub async fn open(client: &Client, query: &str) -> Self {
        let mut stream = TcpStream::connect(client.authority()).await.unwrap();
        let request = format!(
            "GET /events/ws?{query} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            client.authority()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        Self(stream)
    }

    /// The next text; `None` when the server says farewell.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            let frame = tokio::time::timeout(PATIENCE, self.frame()).await.unwrap();
            match frame {
                (1, text) => return Some(serde_json::from_slice(&text).unwrap()),
                (8, _) => return None,
                (9, _) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn frame(&mut self) -> (u8, Vec<u8>) {
        let kind = self.0.read_u8().await.unwrap();
        assert_eq!(kind & 0x80, 0x80, "one frame a message");
        let length = match self.0.read_u8().await.unwrap() {
            126 => u64::from(self.0.read_u16().await.unwrap()),
            127 => self.0.read_u64().await.unwrap(),
            length => length.into(),
        };
        let mut text = vec![0; usize::try_from(length).unwrap()];
        self.0.read_exact(&mut text).await.unwrap();
        (kind & 0x0f, text)
    }
}
