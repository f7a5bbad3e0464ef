//! A client as strict as a test should be: every answer is checked for what all answers have in common.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{contract, id, segment};

#[derive(Clone)]
pub struct Client {
    pub base: String,
    pub http: reqwest::Client,
}

/// An answer of the API: status, headers and JSON body (`Null` where there is none).
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub json: Value,
}

/// An answer as it came over the wire, to a request that no HTTP client would send.
#[derive(Debug)]
pub struct Wire {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Client {
    pub fn new(base: String) -> Self {
        // reqwest comes without one. A second one is refused, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self { base, http: reqwest::Client::new() }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.http.get(self.url(path))).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(self.http.put(self.url(path)).json(body)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.http.post(self.url(path)).json(body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.http.delete(self.url(path))).await
    }

    /// The answer to HEAD, which must not have a body.
    pub async fn head(&self, path: &str) -> Answer {
        let response = self.http.head(self.url(path)).send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let path = response.url().path().to_owned();
        assert!(response.bytes().await.unwrap().is_empty());
        contract::check(&Method::HEAD, &path, status, &headers, &Value::Null);
        Answer { status, headers, json: Value::Null }
    }

    /// Puts a Flow that is new.
    pub async fn make(&self, flow: &Value) -> Value {
        self.put(&format!("/flows/{}", flow["id"].as_str().unwrap()), flow).await.expect(201).json
    }

    /// Registers a segment with an object that lives elsewhere.
    pub async fn register(&self, flow: u32, object_id: &str, timerange: &str) {
        self.post(&format!("/flows/{}/segments", id(flow)), &segment(object_id, timerange)).await.expect(201);
    }

    /// Asks for storage; the upload URLs in the order of the ids.
    pub async fn allocate(&self, flow: u32, object_ids: &[&str]) -> Vec<String> {
        let request = json!({"object_ids": object_ids});
        let answer = self.post(&format!("/flows/{}/storage", id(flow)), &request).await.expect(201);
        let objects = answer.json["media_objects"].as_array().unwrap().iter();
        objects.map(|object| object["put_url"]["url"].as_str().unwrap().to_owned()).collect()
    }

    /// All items of a list, page by page.
    pub async fn all(&self, path: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut next = Some(self.url(path));
        while let Some(url) = next {
            let page = self.send(self.http.get(url)).await.expect(200);
            next = page.next_link();
            items.extend(page.json.as_array().unwrap().iter().cloned());
        }
        items
    }

    /// All that can be seen, to find out that a request changed nothing. Without signed URLs, which change by the minute.
    pub async fn everything(&self) -> Value {
        let flows = self.all("/flows?limit=1000").await;
        let (mut segments, mut objects) = (Vec::new(), Vec::new());
        for flow in &flows {
            let list = format!(
                "/flows/{}/segments?limit=1000&presigned=false&verbose_storage=true&include_object_timerange=true",
                flow["id"].as_str().unwrap()
            );
            for segment in self.all(&list).await {
                let path = object_path(segment["object_id"].as_str().unwrap());
                objects.push(self.get(&format!("{path}?presigned=false")).await.expect(200).json);
                segments.push(segment);
            }
        }
        json!({
            "service": self.get("/service").await.expect(200).json, "flows": flows, "segments": segments,
            "sources": self.all("/sources?limit=1000").await, "objects": objects,
        })
    }

    /// Sends these bytes over a connection of its own and reads until the server closes it.
    pub async fn wire(&self, request: impl AsRef<[u8]>) -> Wire {
        let mut stream = TcpStream::connect(self.authority()).await.unwrap();
        // The server may answer and close before it has read everything.
        let _ = stream.write_all(request.as_ref()).await;
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes).await;
        Wire::parse(&bytes)
    }

    /// Host and port.
    pub fn authority(&self) -> &str {
        self.base.strip_prefix("http://").unwrap()
    }

    /// A body as it stands, which need not be JSON.
    pub async fn raw(
        &self,
        method: Method,
        path: &str,
        content_type: Option<&str>,
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let mut request = self.http.request(method, self.url(path)).body(body);
        if let Some(content_type) = content_type {
            request = request.header(CONTENT_TYPE, content_type);
        }
        self.send(request).await
    }

    pub async fn send(&self, request: RequestBuilder) -> Answer {
        let (http, request) = request.build_split();
        let request = request.unwrap();
        let (method, path) = (request.method().clone(), request.url().path().to_owned());
        let response = http.execute(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.unwrap();
        let json = if body.is_empty() {
            Value::Null
        } else {
            assert_eq!(headers[CONTENT_TYPE], "application/json", "{status}");
            serde_json::from_slice(&body).unwrap()
        };
        let answer = Answer { status, headers, json };
        answer.check_error_body();
        contract::check(&method, &path, answer.status, &answer.headers, &answer.json);
        answer
    }
}

impl Answer {
    /// Every failure has the one error body.
    fn check_error_body(&self) {
        if self.status.is_client_error() || self.status.is_server_error() {
            for key in ["type", "summary", "time", "request_id"] {
                assert!(self.json[key].is_string(), "{key} is missing: {self:?}");
            }
            let message = &self.json["message"];
            assert!(message.is_string() || message.is_array(), "{self:?}");
        }
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{:#}", self.json);
        self
    }

    /// The `type` of an error body.
    pub fn error_type(&self) -> &str {
        self.json["type"].as_str().unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Target of the `Link` to the next page.
    pub fn next_link(&self) -> Option<String> {
        let link = self.header("link")?;
        let (target, rest) = link.strip_prefix('<').unwrap().split_once('>').unwrap();
        assert_eq!(rest, "; rel=\"next\"");
        Some(target.to_owned())
    }

    /// A text of every item of a list.
    pub fn texts(&self, key: &str) -> Vec<String> {
        self.json.as_array().unwrap().iter().map(|item| item[key].as_str().unwrap().to_owned()).collect()
    }
}

impl Wire {
    #[track_caller]
    pub fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("not an answer: {:?}", String::from_utf8_lossy(bytes)));
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines
            .map(|line| line.split_once(':').unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Self { status, headers, body: bytes[end + 4..].to_vec() }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body, where it is the one of all errors.
    pub fn error(&self) -> Option<Value> {
        let json: Value = serde_json::from_slice(&self.body).ok()?;
        ["type", "summary", "time", "request_id"].iter().all(|key| json[key].is_string()).then_some(json)
    }
}

/// The path of an object, whatever its id is made of.
pub fn object_path(object_id: &str) -> String {
    format!("/objects/{}", utf8_percent_encode(object_id, NON_ALPHANUMERIC))
}
