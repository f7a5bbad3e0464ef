//! The tables' schemas, read from `schemas/` at build time: what those files say is what is stored.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use serde::Deserialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    Service,
    Sources,
    Flows,
    Objects,
    FlowSegments,
    Profiles,
    FlowDeleteRequests,
    Webhooks,
    /// In the log only.
    Events,
    /// The cold files.
    Files,
}

impl Table {
    /// In the order in which a state is built up: a segment comes after its Object, a Flow after its Source;
    /// and a segment whose Flow went before it after the request that deletes both.
    pub const ALL: [Self; 10] = [
        Self::Service,
        Self::Profiles,
        Self::Sources,
        Self::Flows,
        Self::Objects,
        Self::FlowDeleteRequests,
        Self::FlowSegments,
        Self::Webhooks,
        Self::Events,
        Self::Files,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Sources => "sources",
            Self::Flows => "flows",
            Self::Objects => "objects",
            Self::FlowSegments => "flow_segments",
            Self::Profiles => "profiles",
            Self::FlowDeleteRequests => "flow_delete_requests",
            Self::Webhooks => "webhooks",
            Self::Events => "events",
            Self::Files => "files",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }

    fn definition(self) -> &'static str {
        match self {
            Self::Service => include_str!("../../schemas/service.json"),
            Self::Sources => include_str!("../../schemas/sources.json"),
            Self::Flows => include_str!("../../schemas/flows.json"),
            Self::Objects => include_str!("../../schemas/objects.json"),
            Self::FlowSegments => include_str!("../../schemas/flow_segments.json"),
            Self::Profiles => include_str!("../../schemas/profiles.json"),
            Self::FlowDeleteRequests => include_str!("../../schemas/flow_delete_requests.json"),
            Self::Webhooks => include_str!("../../schemas/webhooks.json"),
            Self::Events => include_str!("../../schemas/events.json"),
            Self::Files => include_str!("../../schemas/files.json"),
        }
    }

    /// Arrow schema of the table's own columns.
    pub fn schema(self) -> &'static SchemaRef {
        &DEFINITIONS[&self].schema
    }

    /// The same columns without their descriptions, which every log entry would carry along.
    pub fn log_fields(self) -> &'static [FieldRef] {
        &DEFINITIONS[&self].log
    }

    /// Fields of the columns that name a row, without descriptions.
    pub fn key_fields(self) -> &'static [FieldRef] {
        &DEFINITIONS[&self].key
    }
}

/// Schema of `object_references`, which is in cold files only: it follows from segments and Objects.
pub fn object_references() -> &'static SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        Definition::parse("object_references", include_str!("../../schemas/object_references.json")).schema
    });
    &SCHEMA
}

/// What a column of a table means.
#[derive(Debug, Clone)]
pub struct ColumnDoc {
    pub table: String,
    pub column: String,
    /// As Arrow names it.
    pub kind: String,
    pub unit: Option<String>,
    pub description: String,
}

/// Of all tables that SQL shows, those of a table in their order; that of rows' LSNs is the same everywhere.
pub fn table_docs() -> Vec<ColumnDoc> {
    let tables =
        Table::ALL.into_iter().filter(|table| *table != Table::Files).map(|table| (table.name(), table.schema()));
    let tables = tables.chain([("object_references", object_references())]);
    let docs = tables.flat_map(|(table, schema)| schema.fields().iter().map(move |field| (table, field)));
    docs.map(|(table, field)| ColumnDoc {
        table: table.to_owned(),
        column: field.name().clone(),
        kind: field.data_type().to_string(),
        unit: field.metadata().get("unit").cloned(),
        description: field.metadata().get("description").cloned().unwrap_or_default(),
    })
    .collect()
}

static DEFINITIONS: LazyLock<BTreeMap<Table, Definition>> =
    LazyLock::new(|| Table::ALL.into_iter().map(|table| (table, Definition::read(table))).collect());

struct Definition {
    schema: SchemaRef,
    log: Vec<FieldRef>,
    key: Vec<FieldRef>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TableFile {
    table: String,
    version: u32,
    description: String,
    key: Vec<String>,
    #[expect(dead_code, reason = "for readers today, for sorted runs when cold tables come")]
    sort: Vec<String>,
    columns: Vec<Column>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Column {
    name: String,
    r#type: ColumnType,
    nullable: bool,
    unit: Option<String>,
    description: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum ColumnType {
    Utf8,
    Bool,
    Int32,
    Int64,
    Float64,
    Timestamp,
    List(Box<ColumnType>),
    Map(Box<ColumnType>),
    Struct(Vec<Column>),
}

impl Definition {
    fn read(table: Table) -> Self {
        Self::parse(table.name(), table.definition())
    }

    #[expect(clippy::expect_used, reason = "the files are part of the binary; a test reads them all")]
    fn parse(name: &str, text: &str) -> Self {
        let file: TableFile = serde_json::from_str(text).expect("schemas/ holds valid table files");
        assert_eq!(file.table, name, "schemas/ holds each table under its own name");
        let fields: Vec<FieldRef> = file.columns.iter().map(Column::field).collect();
        let log: Vec<FieldRef> = fields.iter().map(bare).collect();
        let key = file
            .key
            .iter()
            .map(|name| log.iter().find(|field| field.name() == name).expect("a key is made of columns").clone())
            .collect();
        let metadata = [
            ("tamslake.table".to_owned(), file.table),
            ("tamslake.version".to_owned(), file.version.to_string()),
            ("description".to_owned(), file.description),
        ];
        Self { schema: Arc::new(Schema::new_with_metadata(fields, metadata.into())), log, key }
    }
}

/// A field without metadata, down to its innermost.
pub fn bare(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::List(element) => DataType::List(bare(element)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(bare).collect()),
        DataType::Map(entries, sorted) => DataType::Map(bare(entries), *sorted),
        other => other.clone(),
    };
    Arc::new(Field::new(field.name(), data_type, field.is_nullable()))
}

impl Column {
    fn field(&self) -> FieldRef {
        let mut metadata = std::collections::HashMap::from([("description".to_owned(), self.description.clone())]);
        if let Some(unit) = &self.unit {
            metadata.insert("unit".to_owned(), unit.clone());
        }
        Arc::new(Field::new(&self.name, self.r#type.arrow(), self.nullable).with_metadata(metadata))
    }
}

impl ColumnType {
    fn arrow(&self) -> DataType {
        match self {
            Self::Utf8 => DataType::Utf8,
            Self::Bool => DataType::Boolean,
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::Float64 => DataType::Float64,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::List(element) => DataType::List(Arc::new(Field::new("element", element.arrow(), false))),
            Self::Map(value) => {
                let entry = vec![Field::new("key", DataType::Utf8, false), Field::new("value", value.arrow(), false)];
                DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entry.into()), false)), false)
            }
            Self::Struct(columns) => DataType::Struct(Fields::from_iter(columns.iter().map(Column::field))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_file_is_read_and_describes_every_column() {
        for table in Table::ALL {
            let schema = table.schema();
            assert!(!table.key_fields().is_empty(), "{}", table.name());
            assert!(!schema.metadata()["description"].is_empty());
            for field in schema.fields() {
                assert!(!field.metadata()["description"].is_empty(), "{}.{}", table.name(), field.name());
            }
            assert_eq!(Table::from_name(table.name()), Some(table));
        }
    }
}
