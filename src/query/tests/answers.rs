//! The questions of `queries/`, asked of a seeded catalogue whose answers are known: `tests/analytics`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use serde_json::Value;

use crate::catalog::Catalog;
use crate::catalog::tests::analytics;
use crate::catalog::tests::helpers::{self, ByHand, start_of_time};
use crate::clock::Clock;
use crate::domain::UtcTime;
use crate::query::canned::{self, Canned};
use crate::query::{Backend, Engine, Question, Sql, SqlSettings, output};

pub fn settings(folder: &Path) -> SqlSettings {
    SqlSettings {
        engine: Engine::DataFusion,
        threads: 2,
        timeout: Duration::from_secs(300),
        memory_bytes: 512 << 20,
        scratch: folder.join("scratch"),
        scratch_bytes: 1 << 30,
        max_rows: 1_000_000,
        max_sql_bytes: 256 << 10,
        max_running: 4,
        max_running_of_caller: 4,
        patience: Duration::from_secs(300),
    }
}

fn backends(file: &str) -> Vec<Backend> {
    let rows: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let text = |row: &Value, name: &str| row[name].as_str().map(str::to_owned);
    rows.iter()
        .map(|row| Backend {
            id: text(row, "id").unwrap(),
            label: text(row, "label"),
            provider: text(row, "provider"),
            region: text(row, "region"),
            product: text(row, "product"),
            is_default: row["is_default"].as_bool().unwrap_or(false),
            capacity_bytes: row["capacity_bytes"].as_u64(),
            free_bytes: row["free_bytes"].as_u64(),
        })
        .collect()
}

fn sql(catalog: &Catalog, folder: &Path, backends: Vec<Backend>) -> Sql {
    Sql::new(catalog.clone(), settings(folder), Arc::new(move || backends.clone())).unwrap()
}

/// Rows as lists of values, in the order of the columns.
async fn ask(sql: &Sql, text: String, engine: Engine) -> Result<(Vec<String>, Vec<Vec<Value>>), String> {
    let question = Question { engine: Some(engine), ..Question::new(text) };
    let answer = sql.ask(question).await.map_err(|error| error.to_string())?;
    let names: Vec<String> = answer.schema.fields().iter().map(|field| field.name().clone()).collect();
    let batches: Vec<_> = answer.batches.try_collect().await.map_err(|error| error.to_string())?;
    let mut rows = Vec::new();
    for batch in &batches {
        for line in output::json_lines(batch).unwrap().split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let mut row: serde_json::Map<String, Value> = serde_json::from_slice(line).unwrap();
            rows.push(names.iter().map(|name| row.remove(name).unwrap_or(Value::Null)).collect());
        }
    }
    Ok((names, rows))
}

/// Numbers by value, and times however they are written.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len() && one.iter().all(|(key, value)| other.get(key).is_some_and(|o| is_same(value, o)))
        }
        (Value::String(one), Value::String(other)) => one == other || time(one).is_some_and(|t| Some(t) == time(other)),
        _ => one == other,
    }
}

fn time(text: &str) -> Option<UtcTime> {
    let has_zone = text.ends_with('Z') || text.contains('+');
    if has_zone { text.parse().ok() } else { format!("{text}Z").parse().ok() }
}

fn values(parameters: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let given = parameters.as_object().unwrap().iter().filter(|(_, value)| !value.is_null());
    given.map(|(name, value)| (name.clone(), text(value))).collect()
}

async fn check(sql: &Sql, canned: &Canned, run: &Value, rows: &Value, when: &str) -> Vec<String> {
    let (text, _) = canned.sql(&values(&run["parameters"]), start_of_time()).unwrap();
    let mut wrong = Vec::new();
    for engine in Engine::ALL {
        let about = format!("{} {} on {} {when}", canned.name, run["parameters"], engine.name());
        match ask(sql, text.clone(), engine).await {
            Err(error) => wrong.push(format!("{about}: {error}")),
            Ok((names, found)) => {
                let wanted: Vec<&Value> = rows.as_array().unwrap().iter().collect();
                let found: Vec<Value> = found.into_iter().map(Value::Array).collect();
                if Some(&names) != serde_json::from_value(run["columns"].clone()).ok().as_ref() {
                    wrong.push(format!("{about}: columns {names:?}"));
                }
                let differs =
                    (0..wanted.len().max(found.len())).find(|row| match (wanted.get(*row), found.get(*row)) {
                        (Some(wanted), Some(found)) => !is_same(wanted, found),
                        _ => true,
                    });
                if let Some(row) = differs {
                    wrong.push(format!("{about}: row {row} is {:?}, not {:?}", found.get(row), wanted.get(row)));
                }
            }
        }
    }
    wrong
}

fn runs(canned: &Canned) -> Vec<Value> {
    let file = format!("tests/analytics/answers/{}.json", canned.name);
    serde_json::from_str(&std::fs::read_to_string(&file).expect("every question has known answers")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_question_has_its_known_answer_on_both_engines() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::manual(start_of_time(), 1);
    let by_hand = ByHand::open(helpers::local(&folder), clock.clone()).await;
    let mut wrong = Vec::new();
    let empty = sql(&by_hand.catalog, folder.path(), Vec::new());
    for canned in canned::all() {
        for run in runs(canned) {
            wrong.extend(check(&empty, canned, &run, &run["empty_store_rows"], "without anything").await);
        }
    }
    analytics::load(&by_hand.catalog, &clock).await;
    let sql = sql(&by_hand.catalog, folder.path(), backends("tests/analytics/tables/storage_backends.json"));
    for when in ["in memory", "in files"] {
        for canned in canned::all() {
            for run in runs(canned) {
                wrong.extend(check(&sql, canned, &run, &run["rows"], when).await);
            }
        }
        by_hand.flush().await;
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
