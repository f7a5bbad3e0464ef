//! `tamslake export`: a table or the answer to a question as files in a folder, from a data folder or from a server.

mod remote;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::work::{Bar, catalogue_to_read, refuse_within};
use super::{CommonArgs, say, serve};
use crate::app;
use crate::catalog::progress::Progress;
use crate::clock::Clock;
use crate::query::Sql;
use crate::query::export::{ExportError, ExportRequest, Folder, Job, JobState, Manifest, Record, Run, Watch, begin};

/// Writes a table, or the answer to a question, to files in a folder. All rows are of one moment. Killed, the same command
/// goes on where it was, with the rows of the same moment. See docs/exports.md.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// A table or view, such as flow_segments
    #[arg(value_name = "TABLE", required_unless_present = "sql", conflicts_with = "sql")]
    table: Option<String>,
    /// A question in its place
    #[arg(long, value_name = "SQL")]
    sql: Option<String>,
    /// parquet, csv, jsonl, arrow or duckdb
    #[arg(long, default_value = "parquet")]
    format: String,
    /// Of Parquet: zstd or none [default: zstd]
    #[arg(long)]
    compression: Option<String>,
    /// A folder for each value of these columns, or of `day`
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    partition_by: Vec<String>,
    /// Rows of a file at most [default: 1000000]
    #[arg(long, value_name = "N")]
    rows_per_file: Option<u64>,
    /// datafusion or duckdb; of a question
    #[arg(long)]
    engine: Option<String>,
    /// An LSN or a moment, such as 2026-01-02T03:04:05Z, in place of now
    #[arg(long, value_name = "STATE")]
    as_of: Option<String>,
    /// Folder of the files, made if it is missing
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Configuration file (TOML), as for `serve`
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of the catalogue; a server may run on it [default: ./data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// A server that makes the export, such as http://localhost:8000; its files are fetched to the folder
    #[arg(long, value_name = "URL", conflicts_with_all = ["config", "data_dir"])]
    server: Option<String>,
}

impl ExportArgs {
    fn request(&self) -> anyhow::Result<ExportRequest> {
        let mut request = json!({ "format": self.format });
        let given = [
            ("table", self.table.as_deref().map(Value::from)),
            ("sql", self.sql.as_deref().map(Value::from)),
            ("compression", self.compression.as_deref().map(Value::from)),
            ("partition_by", Some(self.partition_by.clone().into()).filter(|_| !self.partition_by.is_empty())),
            ("rows_per_file", self.rows_per_file.map(Value::from)),
            ("engine", self.engine.as_deref().map(Value::from)),
            ("as_of", self.as_of.as_deref().map(Value::from)),
        ];
        for (key, value) in given {
            if let (Some(value), Some(request)) = (value, request.as_object_mut()) {
                request.insert(key.to_owned(), value);
            }
        }
        serde_json::from_value(request).context("the arguments are not valid")
    }
}

pub fn run(args: &ExportArgs) -> anyhow::Result<()> {
    let request = args.request()?;
    request.plan()?;
    serve::run_to_end(async {
        let manifest = match &args.server {
            Some(server) => remote::fetch(server, &request, &args.to).await?,
            None => local(args, request).await?,
        };
        say(&format!(
            "{} rows of LSN {} in {} files ({} bytes); {} tells their checksums",
            manifest.rows,
            manifest.lsn,
            manifest.files.len(),
            manifest.bytes,
            args.to.join(crate::query::export::MANIFEST).display()
        ));
        Ok(())
    })
}

async fn local(args: &ExportArgs, request: ExportRequest) -> anyhow::Result<Manifest> {
    let common = CommonArgs { config: args.config.clone(), data_dir: args.data_dir.clone(), listen: None };
    let config = common.config()?;
    refuse_within(&args.to, &config.data.dir)?;
    let catalog = catalogue_to_read(&config, "export").await?;
    let clock = Clock::system();
    let target = Folder::new(&args.to)?;
    let known = Record::read(&target)?;
    if known.is_none() && !is_empty(&args.to)? {
        bail!("{} holds other things than an export: choose another folder. Nothing was changed", args.to.display());
    }
    let settings = app::sql_settings(&config, target.path().join(SCRATCH));
    std::fs::create_dir_all(&settings.scratch)?;
    let sql = Sql::new(catalog, settings, Arc::new(Vec::new))?;
    let catalogue = &sql.catalog().opened().catalogue;
    let mut record = match known {
        Some(record) if record.job.request == request && record.job.catalogue == *catalogue => record,
        Some(_) => return Err(ExportError::OtherExport(args.to.clone()).into()),
        None => begin(&sql, &clock, request, "").await?,
    };
    if record.job.state != JobState::Done {
        record = to_end(sql, clock, target.clone(), record).await?;
    }
    // What does not fit in memory was there.
    let _ = std::fs::remove_dir_all(target.path().join(SCRATCH));
    Ok(Manifest::of(&record))
}

/// Within the folder of the export, while it is made.
const SCRATCH: &str = ".scratch";

/// But for what was cut short before there was a job.
fn is_empty(folder: &std::path::Path) -> std::io::Result<bool> {
    let mut names = std::fs::read_dir(folder)?.filter_map(|entry| entry.ok().map(|entry| entry.file_name()));
    Ok(names.all(|name| name == SCRATCH || name.to_string_lossy().ends_with(".unfinished")))
}

async fn to_end(sql: Sql, clock: Clock, target: Folder, mut record: Record) -> anyhow::Result<Record> {
    let stop = CancellationToken::new();
    let signal = serve::stop_signal()?;
    let handle = sql.handle().clone();
    let (stopping, running) = (stop.clone(), sql.clone());
    let work = handle.spawn_blocking(move || {
        let bar = Shown::new(&record.job);
        let run = Run { sql: &running, clock: &clock, target: &target, watch: &bar, stop: &stopping };
        let outcome = run.to_end(&mut record);
        bar.0.finish();
        outcome.map(|()| record)
    });
    tokio::spawn(async move {
        signal.await;
        stop.cancel();
    });
    let outcome = work.await.context("the export stopped inside")?;
    drop(sql);
    outcome.context("the export is not finished; the same command goes on with it")
}

/// How far a job has come, as a bar.
struct Shown(Bar, AtomicU64);

impl Shown {
    fn new(job: &Job) -> Self {
        let bar = Bar::new();
        bar.begin("rows", job.progress.estimated_rows.unwrap_or(0));
        Self(bar, AtomicU64::new(0))
    }
}

impl Watch for Shown {
    fn progress(&self, job: &Job) {
        let before = self.1.swap(job.progress.rows, Ordering::Relaxed);
        self.0.advance(job.progress.rows.saturating_sub(before));
    }
}
