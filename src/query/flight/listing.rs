//! What there is to ask: catalogues, schemas, tables, and what the server can do.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow_flight::error::FlightError;
use arrow_flight::sql::metadata::{SqlInfoData, SqlInfoDataBuilder};
use arrow_flight::sql::{
    CommandGetDbSchemas, CommandGetTables, SqlInfo, SqlSupportedCaseSensitivity, SqlSupportedTransaction,
};
use futures::TryStreamExt;
use tonic::Status;

use super::handle::Asks;
use super::status::{internal, of_query};
use crate::query::datafusion::CATALOG;
use crate::query::{Engine, Question, Sql};

pub const TABLE_TYPES: [&str; 2] = ["TABLE", "VIEW"];

pub fn sql_info() -> Result<SqlInfoData, FlightError> {
    let mut info = SqlInfoDataBuilder::new();
    info.append(SqlInfo::FlightSqlServerName, "tamslake");
    info.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    // Of the format, not of a library.
    info.append(SqlInfo::FlightSqlServerArrowVersion, "1.5");
    info.append(SqlInfo::FlightSqlServerReadOnly, true);
    info.append(SqlInfo::FlightSqlServerSql, true);
    info.append(SqlInfo::FlightSqlServerSubstrait, false);
    info.append(SqlInfo::FlightSqlServerTransaction, SqlSupportedTransaction::None as i32);
    info.append(SqlInfo::FlightSqlServerCancel, false);
    info.append(SqlInfo::FlightSqlServerBulkIngestion, false);
    info.append(SqlInfo::SqlDdlCatalog, false);
    info.append(SqlInfo::SqlDdlSchema, false);
    info.append(SqlInfo::SqlDdlTable, false);
    info.append(SqlInfo::SqlIdentifierCase, SqlSupportedCaseSensitivity::SqlCaseSensitivityLowercase as i32);
    info.append(SqlInfo::SqlIdentifierQuoteChar, "\"");
    info.append(
        SqlInfo::SqlQuotedIdentifierCase,
        SqlSupportedCaseSensitivity::SqlCaseSensitivityCaseInsensitive as i32,
    );
    info.append(SqlInfo::SqlTransactionsSupported, false);
    info.build()
}

pub async fn schemas(sql: &Sql, asks: &Asks, query: CommandGetDbSchemas) -> Result<RecordBatch, Status> {
    let mut listing = query.into_builder();
    for [schema] in rows(sql, asks, "SELECT schema_name FROM information_schema.schemata ORDER BY 1").await? {
        listing.append(CATALOG, schema);
    }
    listing.build().map_err(internal)
}

pub async fn tables(sql: &Sql, asks: &Asks, query: CommandGetTables) -> Result<RecordBatch, Status> {
    let with_schema = query.include_schema;
    let mut listing = query.into_builder();
    const TABLES: &str = "SELECT table_schema, table_name, table_type FROM information_schema.tables ORDER BY 1, 2";
    for [schema, table, kind] in rows(sql, asks, TABLES).await? {
        let columns = if with_schema {
            let all = format!("SELECT * FROM {}.{}", quoted(&schema), quoted(&table));
            sql.describe(question(asks, all)).await.map_err(of_query)?.schema
        } else {
            arrow::datatypes::SchemaRef::new(arrow::datatypes::Schema::empty())
        };
        let kind = if kind == "VIEW" { "VIEW" } else { "TABLE" };
        listing.append(CATALOG, schema, table, kind, &columns).map_err(internal)?;
    }
    listing.build().map_err(internal)
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn question(asks: &Asks, sql: impl Into<String>) -> Question {
    Question { engine: Some(Engine::DataFusion), caller: asks.caller.clone(), ..Question::new(sql) }
}

/// Texts of the first columns.
async fn rows<const N: usize>(sql: &Sql, asks: &Asks, query: &str) -> Result<Vec<[String; N]>, Status> {
    let answer = sql.ask(question(asks, query)).await.map_err(of_query)?;
    let batches: Vec<RecordBatch> = answer.batches.try_collect().await.map_err(of_query)?;
    let mut rows = Vec::new();
    for batch in batches {
        let columns = batch.columns().iter().map(|column| cast(column, &DataType::Utf8));
        let columns = columns.collect::<Result<Vec<_>, _>>().map_err(internal)?;
        for row in 0..batch.num_rows() {
            rows.push(std::array::from_fn(|column| {
                let column = columns.get(column).map(|column| column.as_string::<i32>());
                column
                    .filter(|column| column.is_valid(row))
                    .map_or_else(String::new, |column| column.value(row).to_owned())
            }));
        }
    }
    Ok(rows)
}
