//! The command line, one file per subcommand. The only place that talks to the terminal.

#![expect(clippy::print_stderr, reason = "a command line prints")]

mod asking;
mod backup;
mod check_config;
mod compact;
mod demo;
mod export;
mod flush;
mod fsck;
mod query;
mod restore;
mod sample;
mod serve;
mod sql;
mod synth;
mod work;

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};

use crate::config::Config;
use crate::telemetry;

/// A time-addressable media store (BBC TAMS 8.2) that needs no database: metadata and media live in one folder.
#[derive(Debug, Parser)]
#[command(name = "tamslake", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    Serve(CommonArgs),
    /// Run the server on a folder of its own, with a sample catalogue whose media really plays
    Demo(demo::DemoArgs),
    /// Add a synthetic catalogue of any size to a data folder, to try and measure with
    Synth(synth::SynthArgs),
    /// Write all rows to the Parquet files and bring the published Delta Lake tables up to date
    Flush(flush::FlushArgs),
    /// Look whether a data folder is whole, and name what is not; a server may run
    Fsck(fsck::FsckArgs),
    /// Copy a data folder as it is at one moment; a server may run
    Backup(backup::BackupArgs),
    /// Make a data folder from a backup
    Restore(restore::RestoreArgs),
    /// Write a table or the answer to a question to files, as it is at one moment; a server may run
    Export(export::ExportArgs),
    /// Merge the table files of a data folder
    Compact(compact::CompactArgs),
    /// Ask a catalogue in SQL: of a data folder, or of a server
    Sql(sql::SqlArgs),
    /// Ask one of the canned questions: which Flows have gaps, what fills the store...
    Query(query::QueryArgs),
    /// Read the configuration as `serve` would, and print what is in force
    CheckConfig(CommonArgs),
}

#[derive(Debug, Args)]
struct CommonArgs {
    /// Configuration file (TOML); see config.example.toml for every key
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of the catalogue and the media [default: ./data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Address and port to listen on; port 0 takes a free one [default: 127.0.0.1:8000]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
}

impl CommonArgs {
    /// Defaults < file < environment < flags.
    fn config(&self) -> anyhow::Result<Config> {
        let mut config = Config::load(self.config.as_deref()).context("the configuration cannot be read")?;
        if let Some(dir) = &self.data_dir {
            config.data.dir.clone_from(dir);
        }
        if let Some(listen) = self.listen {
            config.http.listen = listen;
        }
        config.check().context("the configuration is not valid")?;
        telemetry::filter(&config.log)
            .with_context(|| format!("log.level: {:?} is neither a level nor a filter", config.log.level))?;
        Ok(config)
    }
}

/// Prints a line. Unlike `println!` it does not take the server down when nobody reads any more (`serve | head -1`).
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Runs what the arguments ask for.
pub fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve(args) => serve::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Synth(args) => synth::run(&args),
        Command::Flush(args) => flush::run(&args),
        Command::Fsck(args) => return fsck::run(&args).unwrap_or(ExitCode::from(2)),
        Command::Backup(args) => backup::run(&args),
        Command::Restore(args) => restore::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Compact(args) => compact::run(&args),
        Command::Sql(args) => sql::run(&args),
        Command::Query(args) => query::run(&args),
        Command::CheckConfig(args) => check_config::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tamslake: {error:#}");
            ExitCode::FAILURE
        }
    }
}
