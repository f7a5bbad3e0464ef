//! `tamslake flush`: brings the Parquet files and the published Delta Lake tables up to date, in a folder that no server
//! runs on, or by asking the server.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::work::open_offline;
use super::{CommonArgs, say, serve};
use crate::app;

/// A server may have much to flush.
const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// Writes all rows to the Parquet files and brings the published Delta Lake tables up to date, now.
#[derive(Debug, Args)]
pub struct FlushArgs {
    /// The server to ask, such as http://localhost:8000; without it no server may run on the folder
    #[arg(long, value_name = "URL", conflicts_with_all = ["config", "data_dir"])]
    url: Option<String>,
    /// Configuration file (TOML), as for `serve`
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of the catalogue and the media [default: ./data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Print the outcome as one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Outcome {
    /// The last log entry that the tables show.
    seq: u64,
    /// Of the Delta tables.
    versions: BTreeMap<String, u64>,
}

pub fn run(args: &FlushArgs) -> anyhow::Result<()> {
    let outcome = match &args.url {
        Some(url) => ask(url)?,
        None => offline(args)?,
    };
    if args.json {
        say(&serde_json::to_string(&outcome)?);
    } else {
        let versions: Vec<String> = outcome.versions.iter().map(|(name, at)| format!("{name} {at}")).collect();
        say(&format!("published log entry {}; versions: {}", outcome.seq, versions.join(", ")));
    }
    Ok(())
}

fn offline(args: &FlushArgs) -> anyhow::Result<Outcome> {
    let common = CommonArgs { config: args.config.clone(), data_dir: args.data_dir.clone(), listen: None };
    let config = common.config()?;
    let mut outcome = None;
    serve::run_to_end(async {
        let app = open_offline(config).await?;
        let published = app.tams.catalog.publish().await;
        app.close().await;
        let published = published?;
        let versions = published.versions.into_iter().map(|(name, at)| (name.to_owned(), at)).collect();
        outcome = Some(Outcome { seq: published.seq, versions });
        Ok(())
    })?;
    outcome.context("nothing was published")
}

fn ask(url: &str) -> anyhow::Result<Outcome> {
    if !["http://", "https://"].iter().any(|scheme| url.starts_with(scheme)) {
        bail!("--url {url} is no address of a server, such as http://localhost:8000");
    }
    let mut outcome = None;
    serve::run_to_end(async {
        app::choose_cryptography();
        let client = reqwest::Client::builder().timeout(PATIENCE).build().context("no HTTP client can be made")?;
        let url = format!("{}/_tamslake/flush", url.trim_end_matches('/'));
        let answer = client.post(&url).send().await.with_context(|| format!("{url} does not answer"))?;
        let status = answer.status();
        let body: Value = serde_json::from_slice(&answer.bytes().await?).unwrap_or_default();
        if !status.is_success() {
            let why = body.get("summary").and_then(Value::as_str).unwrap_or("it does not say why");
            bail!("{url} answers {status}: {why}");
        }
        outcome = Some(serde_json::from_value(body).with_context(|| format!("{url} is not a tamslake"))?);
        Ok(())
    })?;
    outcome.context("nothing was published")
}
