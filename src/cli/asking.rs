//! Questions of the command line: to a data folder by way of [`Sql`], to a server by way of `POST /sql`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};

use super::sql::{Format, put};
use super::work::catalogue_to_read;
use super::{CommonArgs, say, serve};
use crate::app;
use crate::query::output::{self, Format as Form};
use crate::query::{Answer, Engine, Param, Params, Question, Sql, parse_as_of};

/// Rows that are shown as a table, at most.
const TABLE_ROWS: usize = 10_000;

#[derive(Debug, Args)]
pub struct AskerArgs {
    /// Configuration file (TOML), as for `serve`
    #[arg(long, value_name = "FILE", conflicts_with = "server")]
    config: Option<PathBuf>,
    /// Folder of the catalogue; a server may run on it [default: ./data]
    #[arg(long, value_name = "DIR", conflicts_with = "server")]
    data_dir: Option<PathBuf>,
    /// Ask this server instead of a folder
    #[arg(long, value_name = "URL", env = "TAMSLAKE_SERVER")]
    server: Option<String>,
    /// datafusion or duckdb
    #[arg(long, value_name = "ENGINE")]
    engine: Option<Engine>,
    /// The catalogue as it was at an LSN or a moment, such as 1200 or 2026-01-02T03:04:05Z
    #[arg(long, value_name = "WHEN")]
    as_of: Option<String>,
}

pub struct Asked {
    pub sql: String,
    pub params: Params,
    /// Where nobody says another.
    pub engine: Option<Engine>,
}

pub struct Asker;

impl Asker {
    pub fn run(args: &AskerArgs, asked: Asked, format: Format) -> anyhow::Result<()> {
        serve::run_to_end(async {
            match &args.server {
                Some(server) => Self::of_server(server, args, asked, format).await,
                None => {
                    let scratch = Scratch::create()?;
                    let answer = Self::of_folder(args, asked, &scratch.0).await?;
                    print(answer, format).await
                }
            }
        })
    }

    /// From a folder, to which a server may go on writing.
    async fn of_folder(args: &AskerArgs, asked: Asked, scratch: &Path) -> anyhow::Result<Answer> {
        let sql = open(args, scratch).await?;
        let as_of = args.as_of.as_deref().map(parse_as_of).transpose()?;
        let Asked { sql: text, params, engine } = asked;
        let question = Question { sql: text, params, engine: args.engine.or(engine), as_of, ..Question::default() };
        Ok(sql.ask(question).await?)
    }

    async fn of_server(server: &str, args: &AskerArgs, asked: Asked, format: Format) -> anyhow::Result<()> {
        let form = match format {
            Format::Table | Format::Jsonl => "jsonl",
            Format::Json => "json",
            Format::Csv => "csv",
            Format::Arrow => "arrow",
        };
        let body = json!({ "sql": asked.sql, "params": params(&asked.params) });
        let mut query = vec![("format", form.to_owned())];
        query.extend(args.engine.or(asked.engine).map(|engine| ("engine", engine.name().to_owned())));
        query.extend(args.as_of.clone().map(|as_of| ("as_of", as_of)));
        let mut response = request(server, "/sql", &query, Some(&body)).await?;
        if format == Format::Table {
            let bytes = response.bytes().await.context("the answer broke off")?;
            return table_of_lines(&bytes);
        }
        while let Some(piece) = response.chunk().await.context("the answer broke off")? {
            if !put(&piece)? {
                break;
            }
        }
        Ok(())
    }
}

/// SQL over the catalogue of a folder.
async fn open(args: &AskerArgs, scratch: &Path) -> anyhow::Result<Sql> {
    let common = CommonArgs { config: args.config.clone(), data_dir: args.data_dir.clone(), listen: None };
    let config = common.config()?;
    let catalog = catalogue_to_read(&config, "ask").await?;
    Ok(Sql::new(catalog, app::sql_settings(&config, scratch.to_owned()), Arc::new(Vec::new))?)
}

/// A folder for what queries write aside: beside a server's own, and gone with this process.
struct Scratch(PathBuf);

impl Scratch {
    fn create() -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("tamslake-sql-{}", std::process::id()));
        std::fs::create_dir_all(&folder).context("there is no room for what queries write aside")?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is still there is in a folder that the system empties.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Asks a server. Errors: what it says.
pub async fn request(
    server: &str,
    path: &str,
    query: &[(&str, String)],
    body: Option<&Value>,
) -> anyhow::Result<reqwest::Response> {
    app::choose_cryptography();
    let client = reqwest::Client::builder().connect_timeout(Duration::from_secs(10)).build()?;
    let mut url = url::Url::parse(&format!("{}{path}", server.trim_end_matches('/')))
        .with_context(|| format!("{server:?} is no URL like http://localhost:8000"))?;
    url.query_pairs_mut().extend_pairs(query.iter().map(|(name, value)| (*name, value.as_str())));
    let request = match body {
        Some(body) => client.post(url).header("content-type", "application/json").body(body.to_string()),
        None => client.get(url),
    };
    let response = request.send().await.with_context(|| format!("{server} does not answer"))?;
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status();
    let text = response.text().await.unwrap_or_default();
    let summary =
        serde_json::from_str::<Value>(&text).ok().and_then(|body| body["summary"].as_str().map(str::to_owned));
    bail!("{}", summary.unwrap_or_else(|| format!("{server} answered {status}")))
}

pub async fn print(answer: Answer, format: Format) -> anyhow::Result<()> {
    let form = match format {
        Format::Table => return table(answer).await,
        Format::Json => Form::Json,
        Format::Jsonl => Form::JsonLines,
        Format::Csv => Form::Csv,
        Format::Arrow => Form::Arrow,
    };
    let mut pieces = output::encode(answer, form)?;
    while let Some(piece) = pieces.next().await.transpose()? {
        if !put(&piece)? {
            break;
        }
    }
    Ok(())
}

async fn table(answer: Answer) -> anyhow::Result<()> {
    let (schema, lsn, mut coming) = (answer.schema.clone(), answer.lsn, answer.batches);
    let (mut batches, mut rows) = (Vec::new(), 0);
    while let Some(batch) = coming.try_next().await? {
        rows += batch.num_rows();
        let room = TABLE_ROWS.saturating_sub(rows - batch.num_rows());
        batches.push(batch.slice(0, batch.num_rows().min(room)));
        if rows > TABLE_ROWS {
            break;
        }
    }
    say(&output::table(&schema, &batches)?);
    say(&footer(rows, Some(lsn)));
    Ok(())
}

fn footer(rows: usize, lsn: Option<u64>) -> String {
    let lsn = lsn.map(|lsn| format!(", LSN {lsn}")).unwrap_or_default();
    match rows {
        1 => format!("1 row{lsn}"),
        rows if rows > TABLE_ROWS => format!("more than {TABLE_ROWS} rows{lsn}: --format csv has them all"),
        rows => format!("{rows} rows{lsn}"),
    }
}

/// A table of objects, one a line.
pub fn table_of_lines(lines: &[u8]) -> anyhow::Result<()> {
    let rows: Vec<serde_json::Map<String, Value>> = lines
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(serde_json::from_slice)
        .collect::<Result<_, _>>()
        .context("the answer is no JSON")?;
    let names: Vec<String> = rows.first().map(|row| row.keys().cloned().collect()).unwrap_or_default();
    let cell = |value: Option<&Value>| match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    };
    let shown: Vec<Vec<String>> =
        rows.iter().take(TABLE_ROWS).map(|row| names.iter().map(|name| cell(row.get(name))).collect()).collect();
    say(&grid(&names, &shown));
    say(&footer(rows.len(), None));
    Ok(())
}

/// Columns with lines around them.
pub fn grid(names: &[String], rows: &[Vec<String>]) -> String {
    let widths: Vec<usize> = (0..names.len())
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column)).chain(names.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let rule: String = widths.iter().map(|width| format!("+{}", "-".repeat(width + 2))).collect::<String>() + "+";
    let line = |cells: &[String]| {
        let cells = cells.iter().zip(&widths).map(|(cell, width)| {
            let pad = " ".repeat(width.saturating_sub(cell.chars().count()));
            format!("| {cell}{pad} ")
        });
        cells.collect::<String>() + "|"
    };
    let mut lines = vec![rule.clone(), line(names), rule.clone()];
    lines.extend(rows.iter().map(|row| line(row)));
    lines.push(rule);
    lines.join("\n")
}

fn params(params: &Params) -> Value {
    let value = |param: &Param| match param {
        Param::Null => Value::Null,
        Param::Bool(value) => (*value).into(),
        Param::Int(value) => (*value).into(),
        Param::Double(value) => (*value).into(),
        Param::Text(value) => value.clone().into(),
    };
    match params {
        Params::Listed(values) => values.iter().map(value).collect(),
        Params::Named(values) => values.iter().map(|(name, param)| (name.clone(), value(param))).collect(),
    }
}
