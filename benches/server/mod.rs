//! For benchmarks of the whole program: a server of the release build, and what runs beside one.
#![allow(dead_code, reason = "each benchmark uses its own part")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use reqwest::Client;
use serde_json::Value;

pub fn synth(data: &Path, flows: u64, segments: u64) -> String {
    let (flows, segments) = (flows.to_string(), segments.to_string());
    tamslake(&["synth", "--json", "--seed", "1", "--flows", &flows, "--segments", &segments], data)
}

fn binary() -> PathBuf {
    std::env::var_os("TAMSLAKE_BENCH_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_tamslake").into(), PathBuf::from)
}

pub fn tamslake(arguments: &[&str], data: &Path) -> String {
    let started = Instant::now();
    let mut command = Command::new(binary());
    command.env("TAMSLAKE__LOG__LEVEL", "warn");
    let output = command.args(arguments).arg("--data-dir").arg(data);
    let output = output.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    format!("{} ({:.0} s)", text.trim(), started.elapsed().as_secs_f64())
}

/// Ends with it.
pub struct Server {
    process: Child,
    pub base: String,
    pub client: Client,
}

impl Server {
    pub async fn start(data: &Path) -> Self {
        let started = Instant::now();
        let mut process = Command::new(binary())
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let base = lines
            .map(Result::unwrap)
            .find_map(|line| Some(line.split_whitespace().find(|word| word.starts_with("http://"))?.to_owned()))
            .unwrap();
        let server = Self { process, base, client: Client::builder().no_proxy().build().unwrap() };
        server.get("/service").await;
        println!("ready to serve: {:.2} s; memory then: {}", started.elapsed().as_secs_f64(), server.memory());
        server
    }

    pub async fn get(&self, path: &str) -> Value {
        let answer = self.client.get(format!("{}{path}", self.base)).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.json().await.unwrap()
    }

    pub fn memory(&self) -> String {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap_or_default();
        let of = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name));
            line.map_or("unknown".into(), |line| line[name.len()..].trim().to_owned())
        };
        format!("{} (at most {})", of("VmRSS:"), of("VmHWM:"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}
