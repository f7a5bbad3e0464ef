//! An export that a server makes, fetched file by file.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Client, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Bar, Progress, Shown, Watch};
use crate::app;
use crate::query::export::{self, ExportRequest, Job, JobState, MANIFEST, Manifest};

/// Which job of the server the folder is for, until all is there.
const ORDERED: &str = "ordered.json";
/// Between questions how far the server is.
const PAUSE: Duration = Duration::from_secs(1);
/// A server that is silent for so long is not there.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Ordered {
    server: String,
    id: String,
    request: ExportRequest,
}

pub async fn fetch(server: &str, request: &ExportRequest, to: &Path) -> anyhow::Result<Manifest> {
    app::choose_cryptography();
    let client = Client::builder().read_timeout(PATIENCE).build().context("no client can be made")?;
    let server = server.trim_end_matches('/');
    fs::create_dir_all(to).with_context(|| format!("{} cannot be made", to.display()))?;
    let ordered = order(&client, server, request, to).await?;
    let base = format!("{server}/exports/{}", ordered.id);
    if let Some(reason) = wait(&client, &base).await? {
        // The same command asks for a new one.
        fs::remove_file(to.join(ORDERED))?;
        bail!(reason);
    }
    let manifest: Manifest = json(client.get(format!("{base}/manifest")).send().await?).await?;
    let bar = Bar::new();
    bar.begin("bytes", manifest.bytes);
    for file in &manifest.files {
        if !export::is_ours(&file.name) {
            bail!("the server names a file {:?}, which no export has", file.name);
        }
        let segments = file.name.split('/').map(|part| utf8_percent_encode(part, NON_ALPHANUMERIC).to_string());
        let url = format!("{base}/files/{}", segments.collect::<Vec<_>>().join("/"));
        let fetched = file_of(&client, &url, file, to, &bar).await;
        fetched.with_context(|| format!("{}: the same command goes on with it", file.name))?;
    }
    bar.finish();
    fs::write(to.join(MANIFEST), serde_json::to_vec_pretty(&manifest)?)?;
    fs::remove_file(to.join(ORDERED))?;
    Ok(manifest)
}

/// The job that the folder waits for, or a new one.
async fn order(client: &Client, server: &str, request: &ExportRequest, to: &Path) -> anyhow::Result<Ordered> {
    let note = to.join(ORDERED);
    match fs::read(&note) {
        Ok(bytes) => {
            let ordered: Ordered = serde_json::from_slice(&bytes).with_context(|| note.display().to_string())?;
            if ordered.server != server || ordered.request != *request {
                bail!("{} waits for another export: choose another folder, or empty it", to.display());
            }
            return Ok(ordered);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| note.display().to_string()),
    }
    if fs::read_dir(to)?.next().is_some() {
        bail!("{} is not empty: choose another folder. Nothing was changed", to.display());
    }
    let body = serde_json::to_vec(request)?;
    let sent = client.post(format!("{server}/exports")).header("content-type", "application/json").body(body).send();
    let job: Job = json(sent.await.with_context(|| format!("{server} does not answer"))?).await?;
    let ordered = Ordered { server: server.to_owned(), id: job.id, request: request.clone() };
    fs::write(&note, serde_json::to_vec(&ordered)?).with_context(|| note.display().to_string())?;
    Ok(ordered)
}

/// Waits for the end of a job: why there will be no files, if so.
async fn wait(client: &Client, base: &str) -> anyhow::Result<Option<String>> {
    let mut shown = None;
    loop {
        let response = client.get(base).send().await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(Some("the server does not have the export any more".into()));
        }
        let job: Job = json(response).await?;
        let bar = shown.get_or_insert_with(|| Shown::new(&job));
        bar.progress(&job);
        match job.state {
            JobState::Queued | JobState::Running => tokio::time::sleep(PAUSE).await,
            JobState::Done => {
                bar.0.finish();
                return Ok(None);
            }
            JobState::Failed => return Ok(Some(format!("the export failed: {}", job.error.unwrap_or_default()))),
            JobState::Cancelled => return Ok(Some("the export was cancelled".into())),
        }
    }
}

/// What a server answers, or the reason that it gives.
async fn good(response: Response) -> anyhow::Result<Response> {
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status();
    let body: Value = serde_json::from_slice(&response.bytes().await?).unwrap_or_default();
    bail!("the server answers {status}: {}", body.get("summary").and_then(Value::as_str).unwrap_or("without a reason"))
}

async fn json<T: DeserializeOwned>(response: Response) -> anyhow::Result<T> {
    let bytes = good(response).await?.bytes().await?;
    serde_json::from_slice(&bytes).context("the server's answer is none that this version knows")
}

async fn file_of(client: &Client, url: &str, file: &export::File, to: &Path, bar: &Bar) -> anyhow::Result<()> {
    let path = to.join(&file.name);
    let beside = to.join(format!("{}.unfinished", file.name));
    if path.exists() {
        // It got its name when it was whole.
        bar.advance(file.bytes);
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut there = beside.metadata().map_or(0, |metadata| metadata.len());
    if there > file.bytes {
        there = 0;
    }
    if there < file.bytes {
        let mut asked = client.get(url);
        if there > 0 {
            asked = asked.header("range", format!("bytes={there}-"));
        }
        let mut response = good(asked.send().await?).await?;
        if response.status() != StatusCode::PARTIAL_CONTENT {
            there = 0;
        }
        let mut target = OpenOptions::new().create(true).write(true).truncate(false).open(&beside)?;
        target.set_len(there)?;
        io::Seek::seek(&mut target, io::SeekFrom::End(0))?;
        bar.advance(there);
        while let Some(block) = response.chunk().await? {
            target.write_all(&block)?;
            bar.advance(block.len() as u64);
        }
        target.sync_all()?;
    }
    if export::hash(&beside)?.1 != file.sha256 {
        fs::remove_file(&beside)?;
        bail!("what came is not what the server wrote");
    }
    fs::rename(&beside, &path)?;
    Ok(())
}
