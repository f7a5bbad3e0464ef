//! The command line, one file per subcommand. The only place that talks to the terminal.

#![expect(clippy::print_stderr, reason = "a command line prints")]

mod check_config;
mod demo;
mod sample;
mod serve;

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
