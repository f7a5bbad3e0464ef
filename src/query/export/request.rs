//! What is wanted of an export, and the question that it asks.

use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::error::ExportError;
use crate::catalog::AsOf;
use crate::query::as_of;
use crate::query::sql::Engine;

const ROWS_PER_FILE: u64 = 1_000_000;
const MOST_ROWS_PER_FILE: u64 = 1_000_000_000;
const MOST_COLUMNS: usize = 8;
/// The partition that is a date.
const DAY: &str = "day";

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExportFormat {
    #[default]
    Parquet,
    Csv,
    /// An object a line.
    Jsonl,
    /// Files of Arrow's IPC format.
    Arrow,
    /// One database of DuckDB with one table.
    DuckDb,
}

impl ExportFormat {
    pub const ALL: [Self; 5] = [Self::Parquet, Self::Csv, Self::Jsonl, Self::Arrow, Self::DuckDb];

    pub fn name(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
            Self::Arrow => "arrow",
            Self::DuckDb => "duckdb",
        }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Self::Parquet => "application/vnd.apache.parquet",
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Jsonl => "application/x-ndjson",
            Self::Arrow => "application/vnd.apache.arrow.file",
            Self::DuckDb => "application/octet-stream",
        }
    }

    /// Of the files that rows are written to.
    pub(super) fn of_parts(self) -> Self {
        if self == Self::DuckDb { Self::Parquet } else { self }
    }
}

/// Of Parquet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    #[default]
    Zstd,
    None,
}

/// As the body of `POST /exports` says it, and `job.json` and the manifest repeat it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportRequest {
    /// Either a table or view by its name...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// ...or a question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
    #[serde(default)]
    pub format: ExportFormat,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// Columns whose values become names of folders, or `day`.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "texts")]
    pub partition_by: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_per_file: Option<u64>,
    /// Of a question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<Engine>,
    /// An LSN or a moment.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "number_or_text")]
    pub as_of: Option<String>,
}

/// A table that can be exported by its name, with an order that costs nothing or little: the scan's own where it is empty.
struct Table {
    name: &'static str,
    order: &'static str,
    /// Makes rows of a day come in one order where the one above is empty.
    key: &'static str,
    /// What `day` is of.
    day: Option<&'static str>,
}

const ALONG_THE_TIMELINE: &str = "flow_id, start_seconds, start_nanoseconds, start_inclusive DESC";

const TABLES: &[Table] = &[
    Table { name: "flow_segments", order: ALONG_THE_TIMELINE, key: ALONG_THE_TIMELINE, day: Some("start_utc") },
    Table { name: "objects", order: "", key: "id", day: Some("created") },
    Table { name: "object_instances", order: "", key: "object_id, storage_id, url, label", day: Some("created") },
    Table {
        name: "object_references",
        order: "",
        key: "object_hash, flow_id, start_seconds, start_nanoseconds",
        day: None,
    },
    Table { name: "flow_coverage", order: ALONG_THE_TIMELINE, key: ALONG_THE_TIMELINE, day: None },
    Table { name: "flows", order: "id", key: "id", day: Some("created") },
    Table { name: "sources", order: "id", key: "id", day: Some("created") },
    Table { name: "profiles", order: "id", key: "id", day: None },
    Table { name: "flow_delete_requests", order: "id", key: "id", day: None },
    Table { name: "webhooks", order: "id", key: "id", day: None },
    Table { name: "service", order: "", key: "lsn_seq", day: None },
    Table { name: "events", order: "", key: "lsn_seq, lsn_index", day: Some("committed") },
    Table { name: "storage_backends", order: "id", key: "id", day: None },
];

/// Words of functions and tables whose answers are others at another moment, though the state is the same. Where one stands
/// in a text for no such reason, an export that was cut short begins anew for nothing, which is all.
const FLEETING: [&str; 17] = [
    "now",
    "today",
    "current_date",
    "current_time",
    "current_timestamp",
    "localtime",
    "localtimestamp",
    "transaction_timestamp",
    "get_current_timestamp",
    "random",
    "uuid",
    "gen_random_uuid",
    "uuidv4",
    "uuidv7",
    "tablesample",
    "events",
    "storage_backends",
];

/// A request that was looked at.
#[derive(Debug, Clone)]
pub struct Plan {
    pub sql: String,
    pub engine: Option<Engine>,
    pub as_of: Option<AsOf>,
    pub format: ExportFormat,
    pub compression: Compression,
    /// Columns that are named so.
    pub partition_by: Vec<String>,
    pub rows_per_file: u64,
    /// Whether the same state gives the same rows in the same order at any time.
    pub repeats: bool,
    /// Of a database.
    pub table: String,
}

impl ExportRequest {
    /// What is to be done, if it can be.
    pub fn plan(&self) -> Result<Plan, ExportError> {
        let parquet = matches!(self.format, ExportFormat::Parquet | ExportFormat::DuckDb);
        if self.compression.is_some() && !parquet {
            return Err(wrong("compression", format!("{} files are not compressed: leave it out", self.format.name())));
        }
        let rows_per_file = self.rows_per_file.unwrap_or(ROWS_PER_FILE);
        if !(1..=MOST_ROWS_PER_FILE).contains(&rows_per_file) {
            return Err(wrong("rows_per_file", format!("say a number from 1 to {MOST_ROWS_PER_FILE}")));
        }
        if self.format == ExportFormat::DuckDb && !self.partition_by.is_empty() {
            return Err(wrong("partition_by", "a database has no partitions: leave it out, or take another format"));
        }
        if self.partition_by.len() > MOST_COLUMNS || self.partition_by.iter().any(String::is_empty) {
            return Err(wrong("partition_by", format!("name one to {MOST_COLUMNS} columns, or day")));
        }
        let asked = self.as_of.as_deref().map(as_of::parse).transpose();
        let asked = asked.map_err(|error| wrong("as_of", error.to_string()))?;
        let (sql, as_of, repeats, table) = match (&self.table, &self.sql) {
            (Some(name), None) => {
                let table = TABLES.iter().find(|table| table.name == name).ok_or_else(|| {
                    let names: Vec<&str> = TABLES.iter().map(|table| table.name).collect();
                    wrong("table", format!("{name:?} is none of {}; anything else is asked with sql", names.join(", ")))
                })?;
                if self.engine.is_some() {
                    return Err(wrong("engine", "a table is read in one way: leave it out, or ask with sql"));
                }
                (self.sql_of(table)?, asked, !is_fleeting(name), name.clone())
            }
            (None, Some(sql)) => {
                let (text, said) = as_of::split(sql).map_err(|error| wrong("sql", error.to_string()))?;
                if said.is_some() && asked.is_some() {
                    return Err(wrong("as_of", "the SQL says AS OF already: leave out one of the two"));
                }
                let text = text.trim_end().trim_end_matches(';');
                let (sql, repeats) = match self.partition_by.as_slice() {
                    [] => (text.to_owned(), !is_fleeting(text)),
                    // Rows with the same values may come in any order.
                    columns => (sorted(text, columns), false),
                };
                (sql, said.or(asked), repeats, "export".to_owned())
            }
            _ => return Err(wrong("table", "say either table or sql")),
        };
        let compression = self.compression.unwrap_or_default();
        let (format, partition_by, engine) = (self.format, self.partition_by.clone(), self.engine);
        Ok(Plan { sql, engine, as_of, format, compression, partition_by, rows_per_file, repeats, table })
    }

    fn sql_of(&self, table: &Table) -> Result<String, ExportError> {
        let name = table.name;
        if self.partition_by.is_empty() {
            let order = if table.order.is_empty() { String::new() } else { format!(" ORDER BY {}", table.order) };
            return Ok(format!("SELECT * FROM {name}{order}"));
        }
        let columns: Vec<String> = self.partition_by.iter().map(|column| quoted(column)).collect();
        let day = match (self.partition_by.iter().any(|column| column == DAY), table.day) {
            (false, _) => String::new(),
            (true, Some(column)) => format!(", CAST({column} AS DATE) AS {DAY}"),
            (true, None) => {
                let reason = format!("{name} has no day: name a column, or ask with sql");
                return Err(ExportError::wrong("partition_by", reason));
            }
        };
        Ok(format!("SELECT *{day} FROM {name} ORDER BY {}, {}", columns.join(", "), table.key))
    }

    /// What a human would call it.
    pub fn what(&self) -> &str {
        self.table.as_deref().unwrap_or("a question")
    }
}

fn wrong(key: &'static str, reason: impl Into<String>) -> ExportError {
    ExportError::wrong(key, reason)
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn sorted(sql: &str, columns: &[String]) -> String {
    let columns: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
    format!("SELECT * FROM (\n{sql}\n) AS asked ORDER BY {}", columns.join(", "))
}

fn is_fleeting(sql: &str) -> bool {
    sql.split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .any(|word| FLEETING.iter().any(|fleeting| word.eq_ignore_ascii_case(fleeting)))
}

/// A text or a list of texts.
fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct Texts;
    impl<'de> Visitor<'de> for Texts {
        type Value = Vec<String>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the name of a column, or a list of names")
        }
        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
            Ok(vec![text.to_owned()])
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut texts = Vec::new();
            while let Some(text) = list.next_element()? {
                texts.push(text);
            }
            Ok(texts)
        }
    }
    deserializer.deserialize_any(Texts)
}

fn number_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    struct Either;
    impl Visitor<'_> for Either {
        type Value = Option<String>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an LSN, or a moment like \"2026-01-02T03:04:05Z\"")
        }
        fn visit_u64<E: serde::de::Error>(self, lsn: u64) -> Result<Self::Value, E> {
            Ok(Some(lsn.to_string()))
        }
        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
            Ok(Some(text.to_owned()))
        }
    }
    deserializer.deserialize_any(Either)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(json: serde_json::Value) -> String {
        let request: ExportRequest = serde_json::from_value(json).unwrap();
        request.plan().unwrap_err().to_string()
    }

    #[test]
    fn wrong_requests_are_refused_with_what_to_change() {
        use serde_json::json;
        for (request, text) in [
            (json!({}), "table: say either table or sql"),
            (json!({"table": "flows", "sql": "SELECT 1"}), "table: say either table or sql"),
            (json!({"table": "flow"}), "table: \"flow\" is none of flow_segments, objects"),
            (json!({"table": "flows", "engine": "duckdb"}), "engine: a table is read in one way"),
            (json!({"table": "flows", "rows_per_file": 0}), "rows_per_file: say a number from 1 to"),
            (json!({"table": "flows", "format": "csv", "compression": "zstd"}), "compression: csv files are not"),
            (json!({"table": "flows", "format": "duckdb", "partition_by": "id"}), "partition_by: a database has no"),
            (json!({"table": "webhooks", "partition_by": "day"}), "partition_by: webhooks has no day"),
            (json!({"table": "flows", "as_of": "yesterday"}), "as_of: "),
            (json!({"sql": "SELECT 1 AS OF LSN 3", "as_of": 3}), "as_of: the SQL says AS OF already"),
        ] {
            let refusal = refusal(request.clone());
            assert!(refusal.starts_with(text), "{request}: {refusal}");
        }
    }

    #[test]
    fn partitions_and_states_are_said_in_either_form() {
        use serde_json::json;
        for (one, other) in [
            (json!({"table": "flows", "partition_by": "day"}), json!({"table": "flows", "partition_by": ["day"]})),
            (json!({"table": "flows", "as_of": 17}), json!({"table": "flows", "as_of": "17"})),
        ] {
            let [one, other]: [ExportRequest; 2] = [one, other].map(|json| serde_json::from_value(json).unwrap());
            assert_eq!(one, other);
        }
        assert!(serde_json::from_value::<ExportRequest>(json!({"table": "flows", "colour": 1})).is_err());
    }

    #[test]
    fn questions_of_the_moment_are_known_by_their_words() {
        for sql in ["SELECT NOW()", "select current_date", "SELECT random() * 2", "FROM events"] {
            assert!(is_fleeting(sql), "{sql}");
        }
        for sql in ["SELECT known FROM snow", "SELECT randomly, uuids FROM flows"] {
            assert!(!is_fleeting(sql), "{sql}");
        }
    }
}
