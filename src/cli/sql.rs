//! `tamslake sql`: one query, of a data folder (beside its server, if one runs) or of a server.

use std::io::{IsTerminal, Read, Write};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};

use super::asking::{Asked, Asker, AskerArgs};
use super::say;
use crate::query::{Param, Params, duckdb_setup};

/// Answers one SQL query. Tables and functions are in docs/sql.md; `SELECT * FROM columns` lists what there is.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    tamslake sql \"SELECT label, count(*) FROM flows GROUP BY label\"\n  \
    tamslake sql --server http://localhost:8000 --format csv 'SELECT * FROM sources' >sources.csv\n  \
    tamslake sql --param 2026-01-01 'SELECT count(*) FROM flows WHERE created > $1'")]
pub struct SqlArgs {
    /// The query; `-` reads it from standard input
    #[arg(value_name = "QUERY", required_unless_present = "duckdb_setup")]
    query: Option<String>,
    #[command(flatten)]
    asker: AskerArgs,
    /// How rows are written
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Value of $1, $2 and so on
    #[arg(long = "param", value_name = "VALUE", allow_hyphen_values = true)]
    params: Vec<String>,
    /// Print SQL that gives a DuckDB of your own the functions and views, over published tables in a schema `raw`
    #[arg(long, exclusive = true)]
    duckdb_setup: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For reading; at most 10,000 rows
    Table,
    Json,
    Jsonl,
    Csv,
    /// A stream of Arrow IPC
    Arrow,
}

pub fn run(args: &SqlArgs) -> anyhow::Result<()> {
    if args.duckdb_setup {
        say(duckdb_setup().trim_end());
        return Ok(());
    }
    let mut sql = args.query.clone().unwrap_or_default();
    if sql == "-" {
        sql.clear();
        std::io::stdin().read_to_string(&mut sql).context("the query cannot be read")?;
    }
    if args.format == Format::Arrow && std::io::stdout().is_terminal() {
        bail!("Arrow is no text: send it to a file or a program");
    }
    let asked =
        Asked { sql, params: Params::Listed(args.params.iter().map(|text| param(text)).collect()), engine: None };
    Asker::run(&args.asker, asked, args.format)
}

/// A word of the command line as the value that it looks like.
fn param(text: &str) -> Param {
    match text {
        "null" => Param::Null,
        "true" => Param::Bool(true),
        "false" => Param::Bool(false),
        _ => match text.parse::<i64>() {
            Ok(number) => Param::Int(number),
            Err(_) => match text.parse::<f64>() {
                Ok(number) if number.is_finite() => Param::Double(number),
                _ => Param::Text(text.to_owned()),
            },
        },
    }
}

/// Writes to standard output. `false` when nobody reads any more, which is no failure.
pub fn put(bytes: &[u8]) -> anyhow::Result<bool> {
    match std::io::stdout().write_all(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error).context("the answer cannot be written"),
    }
}
