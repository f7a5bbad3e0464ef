//! `tamslake fsck`: is the catalogue what it should be? Changes nothing; a server may be running.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;

use super::work::{Bar, Media, Places};
use super::{CommonArgs, say, serve};
use crate::catalog::LocalStore;
use crate::catalog::backup::MANIFEST;
use crate::catalog::fsck::{LEVELS, Report, Scope, Severity, fsck};
use crate::clock::Clock;
use crate::media::LocalMedia;

/// Looks whether a data folder is whole, and names each file that is not, with what to do about it. Exit code 0: nothing
/// is wrong; 1: something is; 2: it could not be looked at. See docs/operations.md.
#[derive(Debug, Args)]
pub struct FsckArgs {
    /// Configuration file (TOML), as for `serve`
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of the catalogue and the media; a server may run on it [default: ./data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// 1 names and gaps, 2 checksums, 3 table files, 4 rows, 5 media; each with those before it
    #[arg(long, value_name = "N", default_value_t = LEVELS, value_parser = clap::value_parser!(u8).range(1..=i64::from(LEVELS)))]
    level: u8,
    /// Look at media at a lower level, too
    #[arg(long)]
    media: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub fn run(args: &FsckArgs) -> anyhow::Result<ExitCode> {
    match look(args) {
        Ok(report) => {
            print(&report, args.json)?;
            Ok(if report.problems == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
        }
        Err(error) => {
            eprintln!("tamslake: {error:#}");
            Ok(ExitCode::from(2))
        }
    }
}

fn look(args: &FsckArgs) -> anyhow::Result<Report> {
    let common = CommonArgs { config: args.config.clone(), data_dir: args.data_dir.clone(), listen: None };
    let dir = common.config()?.data.dir;
    let places = Places::of(&dir);
    if dir.join(MANIFEST).exists() {
        bail!(
            "that is a backup and no data folder: `tamslake backup --verify` to it reads its files again, and `tamslake \
             restore` makes a data folder of it, which fsck can look at"
        );
    }
    let mut report = None;
    serve::run_to_end(async {
        let store = LocalStore::open_read_only(places.catalog).context("there is no catalogue to look at")?;
        let media = Media(LocalMedia::open_to_read(places.media.clone()));
        let bar = Bar::new();
        let scope = Scope { level: args.level, media: Some(&media), always_media: args.media };
        let looked = fsck(Arc::new(store), Clock::system(), &scope, &bar).await;
        bar.finish();
        report = Some(looked?);
        Ok(())
    })?;
    report.context("nothing was looked at")
}

fn print(report: &Report, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        say(&serde_json::to_string(report)?);
        return Ok(());
    }
    for finding in &report.findings {
        let kind = match finding.severity {
            Severity::Problem => "PROBLEM",
            Severity::Note => "note",
        };
        say(&format!("{kind} (level {}) {}: {}. {}", finding.level, finding.file, finding.what, finding.remedy));
    }
    if report.more > 0 {
        say(&format!("and {} more", report.more));
    }
    say(&format!(
        "catalogue {} at LSN {}, level {}: {} log entries, {} checkpoints, {} table files, {} segments, {} Objects: {}",
        report.catalogue.as_deref().unwrap_or("unknown"),
        report.lsn,
        report.level,
        report.log_entries,
        report.checkpoints,
        report.table_files,
        report.segments,
        report.objects,
        match report.problems {
            0 => "nothing is wrong".to_owned(),
            1 => "1 problem".to_owned(),
            problems => format!("{problems} problems"),
        }
    ));
    Ok(())
}
