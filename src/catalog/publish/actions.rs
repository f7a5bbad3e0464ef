//! What must change in a Delta table so that it shows a cut: files that are missing, files that are too many, files whose
//! dead rows are others.

use std::collections::{BTreeMap, HashMap, HashSet};

use deltalake::kernel::{Action, Add};
use deltalake::table::state::DeltaTableState;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::deletion_vector::{self, VectorFile};
use super::{ColumnStats, Cut, CutFile, PublishSettings, StatValue, schema};
use crate::domain::UtcTime;

#[derive(Debug)]
pub struct Plan {
    /// Empty when there is nothing to do.
    pub actions: Vec<Action>,
    /// All that the cut needs, in the order of its files.
    pub vectors: Vec<VectorFile>,
    pub added: usize,
    pub changed: usize,
    pub removed: usize,
}

/// Whether a cut can be shown at all. Errors are for whoever made it.
pub fn check(cut: &Cut) -> Result<(), String> {
    let mut paths = HashSet::new();
    for file in &cut.files {
        if !paths.insert(&file.path) {
            return Err(format!("{} is in the cut twice", file.path));
        }
        if file.dead.max().is_some_and(|last| u64::from(last) >= file.rows) {
            return Err(format!("{} has {} rows, and a later one is said to be dead", file.path, file.rows));
        }
    }
    Ok(())
}

pub fn plan(
    table: &str,
    catalogue: Uuid,
    settings: &PublishSettings,
    state: Option<&DeltaTableState>,
    cut: &Cut,
    now: UtcTime,
) -> Result<Plan, String> {
    let now = now.timestamp_millis();
    // A file of which nothing lives is not shown.
    let shown: Vec<&CutFile> = cut.files.iter().filter(|file| file.dead.len() < file.rows).collect();
    let vectors = shown.iter().any(|file| !file.dead.is_empty());
    let mut plan = Plan { actions: Vec::new(), vectors: Vec::new(), added: 0, changed: 0, removed: 0 };
    plan.actions.extend(schema::table_actions(table, catalogue, settings, state, &cut.schema, vectors)?);

    let mut live: HashMap<String, _> =
        state.into_iter().flat_map(|state| state.log_data()).map(|file| (file.path().into_owned(), file)).collect();
    for file in shown {
        let (vector, vector_file) = deletion_vector::encode(&file.path, &file.dead)?.unzip();
        let mut vector_file = vector_file.flatten();
        let known = live.remove(&file.path);
        let same = match &known {
            None => {
                plan.added += 1;
                false
            }
            Some(known) if u64::try_from(known.size()) != Ok(file.bytes) => {
                let size = known.size();
                return Err(format!(
                    "{} has {} bytes, and {size} in the Delta log: files never change",
                    file.path, file.bytes
                ));
            }
            Some(known) => known.deletion_vector_descriptor() == vector,
        };
        if !same {
            if let Some(known) = known {
                plan.changed += 1;
                let mut remove = known.remove_action(true);
                remove.deletion_timestamp = Some(now);
                plan.actions.push(Action::Remove(remove));
            }
            let mut add = add(file, now)?;
            add.deletion_vector = vector;
            plan.actions.push(Action::Add(add));
        }
        if let Some(file) = &mut vector_file {
            file.new = !same;
        }
        plan.vectors.extend(vector_file);
    }
    // Sorted, so that the same change is written in the same way.
    for known in live.into_iter().collect::<BTreeMap<_, _>>().into_values() {
        plan.removed += 1;
        let mut remove = known.remove_action(true);
        remove.deletion_timestamp = Some(now);
        plan.actions.push(Action::Remove(remove));
    }
    Ok(plan)
}

fn add(file: &CutFile, now: i64) -> Result<Add, String> {
    Ok(Add {
        path: file.path.clone(),
        size: i64::try_from(file.bytes).map_err(|_| format!("{} is too large", file.path))?,
        modification_time: now,
        data_change: true,
        stats: Some(stats(file).to_string()),
        ..Add::default()
    })
}

/// Bounds are of all rows in the file; they are not tight when some of these are dead.
fn stats(file: &CutFile) -> Value {
    let values = |value: fn(&ColumnStats) -> Option<&StatValue>| -> Map<String, Value> {
        file.stats.iter().filter_map(|column| Some((column.column.clone(), value(column)?.json()))).collect()
    };
    let nulls: Map<String, Value> =
        file.stats.iter().filter_map(|column| Some((column.column.clone(), json!(column.nulls?)))).collect();
    json!({
        "numRecords": file.rows,
        "tightBounds": file.dead.is_empty(),
        "minValues": values(|column| column.min.as_ref()),
        "maxValues": values(|column| column.max.as_ref()),
        "nullCount": nulls,
    })
}
