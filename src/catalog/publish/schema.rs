//! What a Delta table says of itself: columns and their descriptions, what its readers must be able to do, how long things
//! are kept, and whose it is.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake::kernel::{Action, MetadataExt, Protocol, StructType, new_metadata};
use deltalake::table::state::DeltaTableState;
use serde_json::json;
use uuid::Uuid;

use super::PublishSettings;

const CATALOGUE: &str = "tamslake.catalogue";
const TABLE: &str = "tamslake.table";
const VECTORS: &str = "delta.enableDeletionVectors";

/// Whether a Delta table is the one that this catalogue publishes under this name. Errors say whose it is.
pub fn is_ours(state: &DeltaTableState, table: &str, catalogue: Uuid) -> Result<(), String> {
    let configuration = state.metadata().configuration();
    match (configuration.get(CATALOGUE), configuration.get(TABLE)) {
        (Some(owner), Some(name)) if *owner == catalogue.to_string() && name == table => Ok(()),
        (Some(owner), Some(name)) => {
            Err(format!("it is table {name} of catalogue {owner}, not {table} of {catalogue}"))
        }
        _ => Err("another program made it".to_owned()),
    }
}

/// Actions that create the table, or bring what it says of itself up to date; mostly none.
///
/// Readers have to know deletion vectors from the first cut on that has dead rows, and from then on for ever. Tables that
/// never lose single rows stay readable for those that do not know them.
pub fn table_actions(
    table: &str,
    catalogue: Uuid,
    settings: &PublishSettings,
    state: Option<&DeltaTableState>,
    schema: &Schema,
    vectors: bool,
) -> Result<Vec<Action>, String> {
    let columns: StructType = delta_columns(schema)?;
    // The commits tell which files of deletion vectors are still needed.
    let log_retention = settings.log_retention.max(settings.file_retention);
    let mut configuration = vec![
        (CATALOGUE, catalogue.to_string()),
        (TABLE, table.to_owned()),
        ("delta.checkpointInterval", settings.checkpoint_interval.to_string()),
        ("delta.logRetentionDuration", format!("interval {} seconds", log_retention.as_secs())),
        ("delta.deletedFileRetentionDuration", format!("interval {} seconds", settings.file_retention.as_secs())),
        ("delta.enableExpiredLogCleanup", "true".to_owned()),
    ];
    if vectors {
        configuration.push((VECTORS, "true".to_owned()));
    }
    let Some(state) = state else {
        let metadata =
            new_metadata(&columns, [""; 0], configuration).and_then(|metadata| metadata.with_name(table.to_owned()));
        let description = schema.metadata().get("description").cloned().unwrap_or_default();
        let metadata = metadata.and_then(|metadata| metadata.with_description(description));
        let metadata = metadata.map_err(|error| error.to_string())?;
        return Ok(vec![Action::Protocol(protocol(vectors)?), Action::Metadata(metadata)]);
    };

    let mut actions = Vec::new();
    let known = state.metadata().configuration();
    if vectors && known.get(VECTORS).is_none_or(|value| value != "true") {
        actions.push(Action::Protocol(protocol(true)?));
    }
    let news: Vec<_> = configuration.into_iter().filter(|(key, value)| known.get(*key) != Some(value)).collect();
    if !news.is_empty() || *state.schema() != columns {
        let mut metadata = state.metadata().clone().with_schema(&columns).map_err(|error| error.to_string())?;
        for (key, value) in news {
            metadata = metadata.add_config_key(key.to_owned(), value).map_err(|error| error.to_string())?;
        }
        actions.push(Action::Metadata(metadata));
    }
    Ok(actions)
}

fn protocol(vectors: bool) -> Result<Protocol, String> {
    let value = if vectors {
        json!({
            "minReaderVersion": 3,
            "minWriterVersion": 7,
            "readerFeatures": ["deletionVectors"],
            "writerFeatures": ["deletionVectors"],
        })
    } else {
        json!({ "minReaderVersion": 1, "minWriterVersion": 2 })
    };
    serde_json::from_value(value).map_err(|error| error.to_string())
}

fn delta_columns(schema: &Schema) -> Result<StructType, String> {
    let commented = Schema::new(schema.fields().iter().map(commented).collect::<Vec<_>>());
    (&commented).try_into_kernel().map_err(|error| error.to_string())
}

/// A field whose only metadata is a comment, down to its innermost: our description and unit.
fn commented(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::List(element) => DataType::List(commented(element)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(commented).collect()),
        DataType::Map(entries, sorted) => DataType::Map(commented(entries), *sorted),
        other => other.clone(),
    };
    let mut metadata = HashMap::new();
    if let Some(description) = field.metadata().get("description") {
        let unit = field.metadata().get("unit").map(|unit| format!(" [{unit}]")).unwrap_or_default();
        metadata.insert("comment".to_owned(), format!("{description}{unit}"));
    }
    Arc::new(Field::new(field.name(), data_type, field.is_nullable()).with_metadata(metadata))
}
