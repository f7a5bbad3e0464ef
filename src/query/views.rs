//! The views of `queries/views`, and what their columns mean, as rows of the table `columns`.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, RecordBatch, StringArray};

use crate::catalog::{ColumnDoc, table_docs};

/// A view as SQL, over the stored tables in the schema `raw`.
#[derive(Debug)]
pub struct View {
    pub name: &'static str,
    pub sql: &'static str,
}

macro_rules! views {
    ($($name:literal),* $(,)?) => {
        /// In the order in which they can be made.
        pub const VIEWS: &[View] = &[
            $(View { name: $name, sql: include_str!(concat!("../../queries/views/", $name, ".sql")) }),*
        ];
    };
}

views![
    "service",
    "sources",
    "flows",
    "flow_segments",
    "flow_coverage",
    "objects",
    "object_instances",
    "profiles",
    "flow_delete_requests",
    "webhooks",
];

/// DuckDB's functions, which the views need...
pub const DUCKDB: &str = include_str!("../../queries/duckdb.sql");
/// ...and those that need the views.
pub const DUCKDB_TABLES: &str = include_str!("../../queries/duckdb-tables.sql");

/// DuckDB's functions and views as a script, for tables in a schema `raw` of a database of one's own.
pub fn duckdb_setup() -> String {
    let view = |view: &View| format!("\nCREATE OR REPLACE VIEW {} AS\n{};\n", view.name, view.sql.trim_end());
    let functions = std::iter::once(DUCKDB.to_owned());
    functions.chain(VIEWS.iter().map(view)).chain([format!("\n{DUCKDB_TABLES}")]).collect()
}

/// Of all tables and views, those of a table in their order.
pub fn docs() -> &'static [ColumnDoc] {
    static DOCS: LazyLock<Vec<ColumnDoc>> = LazyLock::new(|| {
        let stored = table_docs().into_iter().filter(|doc| doc.column != "api_key_value");
        let mut docs: Vec<ColumnDoc> = stored.collect();
        for view in VIEWS {
            for line in view.sql.lines() {
                let Some(line) = line.strip_prefix("-- Column: ") else { continue };
                let (head, description) = line.split_once(". ").unwrap_or((line, ""));
                let (column, kind) = head.split_once(' ').unwrap_or((head, ""));
                docs.push(ColumnDoc {
                    table: view.name.to_owned(),
                    column: column.to_owned(),
                    kind: kind.to_owned(),
                    unit: None,
                    description: description.to_owned(),
                });
            }
        }
        docs.sort_by(|one, other| one.table.cmp(&other.table));
        docs
    });
    &DOCS
}

/// The same as a table.
pub fn columns() -> &'static RecordBatch {
    static COLUMNS: LazyLock<RecordBatch> = LazyLock::new(|| {
        let text = |of: fn(&ColumnDoc) -> Option<&str>| -> ArrayRef {
            Arc::new(docs().iter().map(of).collect::<StringArray>())
        };
        let columns = [
            ("table_name", text(|doc| Some(&doc.table))),
            ("column_name", text(|doc| Some(&doc.column))),
            ("data_type", text(|doc| Some(&doc.kind))),
            ("unit", text(|doc| doc.unit.as_deref())),
            ("description", text(|doc| Some(&doc.description))),
        ];
        // Columns of one length always make a batch.
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
            .unwrap_or_else(|_| RecordBatch::new_empty(Arc::new(arrow::datatypes::Schema::empty())))
    });
    &COLUMNS
}
