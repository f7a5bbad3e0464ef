//! Logs: structured, to standard error, as text for people or JSON for machines.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::config::{Log, LogFormat};

/// The filter that a level stands for. Errors: it is neither a level nor a filter.
pub fn filter(log: &Log) -> Result<EnvFilter, ParseError> {
    // The HTTP library reports what the banner says already, and Delta Lake's each step, and errors as bytes of the file;
    // a filter of the operator comes later and wins.
    EnvFilter::builder()
        .parse(format!("poem=warn,deltalake_core=warn,delta_kernel=off,buoyant_kernel=off,{}", log.level))
}

/// Sets up logging for the process. Errors: the level is neither a level nor a filter.
pub fn start(log: &Log) -> Result<(), ParseError> {
    let filter = filter(log)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match log.format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}
