//! `tamslake serve`: opens the data folder, says where everything is, serves until it is told to stop.

use std::future::Future;
use std::time::Duration;

use anyhow::Context;

use super::{CommonArgs, say};
use crate::app::{App, Listening};
use crate::clock::Clock;
use crate::config::Config;
use crate::telemetry;

pub fn run(args: &CommonArgs) -> anyhow::Result<()> {
    let config = args.config()?;
    run_to_end(async {
        let (app, listening) = open(&config).await?;
        banner(&config, &app, &listening);
        let stop = stop_signal()?;
        app.serve(listening, stop).await?;
        Ok(())
    })
}

/// Runs a server. When it has ended, nothing that still waits for the outside (a slow name server, say) holds up the
/// process: what had to be finished is.
pub(super) fn run_to_end(server: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let builder = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = builder.context("the async runtime cannot start")?;
    let outcome = runtime.block_on(server);
    runtime.shutdown_timeout(Duration::from_millis(500));
    outcome
}

pub(super) async fn open(config: &Config) -> anyhow::Result<(App, Listening)> {
    telemetry::start(&config.log).context("logging cannot start")?;
    raise_open_files();
    let app = App::open(config.clone(), Clock::system()).await?;
    let listening = app.listen().await?;
    Ok((app, listening))
}

pub(super) fn banner(config: &Config, app: &App, listening: &Listening) {
    let dir = app.data_dir();
    let reach = if listening.address.ip().is_loopback() { "this machine" } else { "anyone who reaches this address" };
    say(&format!("tamslake {}", env!("CARGO_PKG_VERSION")));
    say(&format!("  listening   http://{}   (/docs explains the API, /openapi.json describes it)", listening.address));
    if let Some(socket) = &listening.postgres {
        say(&format!(
            "  postgres    {}   (psql -h {} -p {} tamslake)",
            socket.address,
            socket.address.ip(),
            socket.address.port()
        ));
    }
    if let Some(socket) = &listening.flight {
        say(&format!("  flight sql  grpc://{}", socket.address));
    }
    say(&format!(
        "  data        {}   (catalogue in catalog/, media in media/)",
        dir.canonicalize().unwrap_or(dir).display()
    ));
    say(&format!(
        "  protection  none: {reach} can read and write everything; media URLs are signed and expire after {}",
        humantime::format_duration(config.media.url_ttl.0)
    ));
}

/// Each connection and each upload is an open file, and many systems start a process with room for 1,024 of them.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// Ends when the process is asked to stop: Ctrl-C, or SIGTERM as service managers send it.
pub(super) fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be watched")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("Ctrl-C cannot be watched")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: requests in flight may finish; ask again to stop at once");
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            // As a shell reports a process that was interrupted. Nothing is lost: that is what the log is for.
            std::process::exit(130);
        });
    })
}
