//! `tamslake query`: one of the questions of `queries/`.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use clap::Args;

use super::asking::{Asked, Asker, AskerArgs, grid};
use super::say;
use super::sql::Format;
use crate::clock::Clock;
use crate::query::Params;
use crate::query::canned::{self, Canned};

/// Answers one of the canned questions; without a name, lists them. The same are at GET /analytics of a server.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    tamslake query\n  \
    tamslake query gaps --explain\n  \
    tamslake query gaps tolerance_seconds=0.5 start_time=2026-01-01T00:00:00Z --data-dir ./demo-data")]
pub struct QueryArgs {
    /// Name of the question
    name: Option<String>,
    /// Parameters of the question
    #[arg(value_name = "NAME=VALUE")]
    parameters: Vec<String>,
    #[command(flatten)]
    asker: AskerArgs,
    /// How rows are written
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Say what the question takes and gives, and do not ask it
    #[arg(long, requires = "name")]
    explain: bool,
    /// Print the SQL with the values of the parameters in it, and do not ask it
    #[arg(long, requires = "name", conflicts_with = "explain")]
    print_sql: bool,
}

pub fn run(args: &QueryArgs) -> anyhow::Result<()> {
    let Some(name) = &args.name else {
        let rows: Vec<_> =
            canned::all().iter().map(|canned| vec![canned.name.to_owned(), canned.question.to_owned()]).collect();
        say(&grid(&["name".into(), "question".into()], &rows));
        return Ok(());
    };
    let canned = canned::find(name)
        .with_context(|| format!("there is no question {name:?}: `tamslake query` lists those that there are"))?;
    if args.explain {
        explain(canned);
        return Ok(());
    }
    let mut values = BTreeMap::new();
    for parameter in &args.parameters {
        let Some((name, value)) = parameter.split_once('=') else {
            bail!("{parameter:?} is no parameter: write name=value");
        };
        values.insert(name.to_owned(), value.to_owned());
    }
    let (sql, _) = canned.sql(&values, Clock::system().now())?;
    if args.print_sql {
        say(&sql);
        return Ok(());
    }
    Asker::run(&args.asker, Asked { sql, params: Params::default(), engine: canned.engine }, args.format)
}

fn explain(canned: &Canned) {
    say(&format!("{}\n{}\n\nParameters", canned.question, canned.why));
    for parameter in &canned.parameters {
        let default = match parameter.default {
            Some(default) => format!(" = {default}"),
            None if parameter.required => " (required)".into(),
            None => String::new(),
        };
        say(&format!("  {}{default}   {}", parameter.name, parameter.description));
    }
    say("\nColumns");
    for column in &canned.columns {
        say(&format!("  {} ({})   {}", column.name, column.kind, column.description));
    }
}
