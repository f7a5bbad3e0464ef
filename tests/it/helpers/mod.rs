//! Servers to test against, a client, and builders that mention only what matters.

mod build;
mod client;
pub mod contract;
mod process;
mod receiver;
mod sse;

pub use build::{audio_flow, data_flow, id, multi_flow, segment, video_flow, with};
pub use client::{Answer, Client, Wire, object_path};
pub use process::{Process, binary, synth};
pub use receiver::{Mode, Received, Receiver};
pub use sse::{Socket, Sse, Told};

use std::future::Future;
use std::path::Path;

use tamslake::app::App;
use tamslake::clock::Clock;
use tamslake::config::Config;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A server in this process, on a folder and a port of its own.
pub struct TestApp {
    pub client: Client,
    pub folder: tempfile::TempDir,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
}

impl TestApp {
    pub async fn start() -> Self {
        Self::with(|_| {}, Clock::system()).await
    }

    /// With settings or a clock that the test needs.
    pub async fn with(change: impl FnOnce(&mut Config), clock: Clock) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.data.dir = folder.path().join("data");
        config.http.listen = "127.0.0.1:0".parse().unwrap();
        change(&mut config);
        let (base, stop, serving) = serve(config, clock).await;
        Self { client: Client::new(base), folder, stop: Some(stop), serving }
    }

    /// Stops the server as SIGTERM does and waits until it has closed its data.
    pub async fn stop(mut self) -> tempfile::TempDir {
        drop(self.stop.take());
        self.serving.await.unwrap();
        self.folder
    }
}

async fn serve(config: Config, clock: Clock) -> (String, oneshot::Sender<()>, JoinHandle<()>) {
    let app = App::open(config, clock).await.unwrap();
    let listening = app.listen().await.unwrap();
    let base = format!("http://{}", listening.address);
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(async move {
        app.serve(listening, async move { drop(stopped.await) }).await.unwrap();
    });
    (base, stop, serving)
}

/// The specification's files, or `None` with a loud word where they are not there; in CI their absence is a failure.
pub fn specification(version: &str) -> Option<std::path::PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/spec").join(version);
    if path.is_dir() {
        return Some(path);
    }
    assert!(std::env::var_os("CI").is_none(), "CI needs the specification in {}", path.display());
    eprintln!("NOT CHECKED: the TAMS specification is not in {}", path.display());
    None
}

/// Runs a future on the runtime that tests use outside `#[tokio::test]`.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(future)
}
