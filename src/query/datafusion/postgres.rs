//! PostgreSQL's system tables and functions, for sessions that ask for them. What is the same in all of them is made once.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use arrow::datatypes::{DataType, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{SchemaProvider, TableFunctionImpl};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::TableType;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::catalog_info::CatalogInfo;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::oid_type_planner::PgOidTypePlanner;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::{
    PgCatalogSchemaProvider, PgCatalogStaticTables, setup_pg_catalog,
};
use futures::FutureExt;

use super::CATALOG;

/// The version whose system tables there are, and whose words.
const VERSION: &str = concat!("16.6 (tamslake ", env!("CARGO_PKG_VERSION"), ")");

/// A setting of PostgreSQL's, as it is unless a client sets it.
pub fn default_setting(name: &str) -> Option<&'static str> {
    Some(match name {
        "server_version" => VERSION,
        "server_version_num" => "160006",
        "server_encoding" | "client_encoding" => "UTF8",
        "integer_datetimes"
        | "standard_conforming_strings"
        | "default_transaction_read_only"
        | "transaction_read_only" => "on",
        "in_hot_standby" | "is_superuser" | "default_transaction_deferrable" | "row_security" | "jit" => "off",
        "datestyle" => "ISO, MDY",
        "intervalstyle" => "postgres",
        "timezone" => "UTC",
        "search_path" => "public",
        "application_name" => "",
        "bytea_output" => "hex",
        "extra_float_digits" => "1",
        "transaction_isolation" | "default_transaction_isolation" => "repeatable read",
        "max_identifier_length" => "63",
        "statement_timeout" | "lock_timeout" | "idle_in_transaction_session_timeout" => "0",
        "lc_collate" | "lc_ctype" | "lc_messages" | "lc_monetary" | "lc_numeric" | "lc_time" => "C",
        "client_min_messages" => "notice",
        _ => return None,
    })
}

/// What no session changes.
struct Fixed {
    /// One for all sessions: a client asks with one query for the number of a table, and uses it in the next.
    schema: Arc<dyn SchemaProvider>,
    functions: Vec<Arc<ScalarUDF>>,
    table_functions: Vec<(String, Arc<dyn TableFunctionImpl>)>,
}

impl Fixed {
    /// Functions are taken from a session that has them, and has nothing else; names of tables from one of ours.
    fn make(ours: &SessionContext) -> Result<Self> {
        let config = SessionConfig::new().with_default_catalog_and_schema(CATALOG, super::SCHEMA);
        let plain = SessionContext::new_with_config(config.clone()).state();
        let context = SessionContext::new_with_config(config);
        setup_pg_catalog(&context, CATALOG, EmptyContextProvider).map_err(|error| *error)?;
        let state = context.state();
        let is_new = |name: &String, function: &Arc<ScalarUDF>| {
            plain.scalar_functions().get(name).is_none_or(|known| !Arc::ptr_eq(known, function))
        };
        let functions = state.scalar_functions().iter().filter(|(name, function)| is_new(name, function));
        let mut functions: Vec<_> = functions.map(|(_, function)| function.clone()).collect();
        functions.extend(more_functions());
        let table_functions = state
            .table_functions()
            .iter()
            .map(|(name, function)| (name.clone(), function.function().clone()))
            .collect();
        let listing = async {
            let mut listing = Listing::default();
            listing.add(ours, |_| true).await?;
            listing.add(&context, |schema| schema == SYSTEM).await?;
            Ok::<_, DataFusionError>(listing)
        };
        // Views are planned from memory: nothing is waited for.
        let listing = listing.now_or_never();
        let listing = listing.ok_or_else(|| DataFusionError::Internal("listing the tables would wait".into()))??;
        let tables = Arc::new(PgCatalogStaticTables::try_new()?);
        let schema = PgCatalogSchemaProvider::try_new(listing, tables, EmptyContextProvider)?;
        Ok(Self { schema: Arc::new(schema), functions, table_functions })
    }
}

const SYSTEM: &str = "pg_catalog";

/// The tables of each schema, which are the same in all states.
#[derive(Debug, Clone, Default)]
struct Listing(BTreeMap<String, BTreeMap<String, (SchemaRef, TableType)>>);

impl Listing {
    async fn add(&mut self, context: &SessionContext, is_wanted: impl Fn(&str) -> bool) -> Result<()> {
        let Some(all) = context.catalog(CATALOG) else { return Ok(()) };
        for name in all.schema_names().into_iter().filter(|name| is_wanted(name)) {
            let Some(schema) = all.schema(&name) else { continue };
            let tables = self.0.entry(name).or_default();
            for name in schema.table_names() {
                if let Some(table) = schema.table(&name).await? {
                    tables.insert(name, (table.schema(), table.table_type()));
                }
            }
        }
        Ok(())
    }

    fn tables(&self, catalog: &str, schema: &str) -> Option<&BTreeMap<String, (SchemaRef, TableType)>> {
        self.0.get(schema).filter(|_| catalog == CATALOG)
    }
}

#[async_trait]
impl CatalogInfo for Listing {
    async fn catalog_names(&self) -> Result<Vec<String>> {
        Ok(vec![CATALOG.to_owned()])
    }

    async fn schema_names(&self, catalog: &str) -> Result<Option<Vec<String>>> {
        Ok((catalog == CATALOG).then(|| self.0.keys().cloned().collect()))
    }

    async fn table_names(&self, catalog: &str, schema: &str) -> Result<Option<Vec<String>>> {
        Ok(self.tables(catalog, schema).map(|tables| tables.keys().cloned().collect()))
    }

    async fn table_schema(&self, catalog: &str, schema: &str, table: &str) -> Result<Option<SchemaRef>> {
        Ok(self.tables(catalog, schema).and_then(|tables| tables.get(table)).map(|(shape, _)| shape.clone()))
    }

    async fn table_type(&self, catalog: &str, schema: &str, table: &str) -> Result<Option<TableType>> {
        Ok(self.tables(catalog, schema).and_then(|tables| tables.get(table)).map(|(_, kind)| *kind))
    }
}

pub fn register(context: &SessionContext) -> Result<()> {
    static FIXED: OnceLock<Fixed> = OnceLock::new();
    let fixed = match FIXED.get() {
        Some(fixed) => fixed,
        None => {
            let made = Fixed::make(context)?;
            FIXED.get_or_init(|| made)
        }
    };
    let all = context.catalog(CATALOG).ok_or_else(|| DataFusionError::Internal("a session has no catalogue".into()))?;
    all.register_schema(SYSTEM, fixed.schema.clone())?;
    for function in &fixed.functions {
        context.register_udf(function.as_ref().clone());
    }
    for (name, function) in &fixed.table_functions {
        context.register_udtf(name, function.clone());
    }
    // Types like `regclass`.
    let state = context.state_ref();
    let existing = state.read().clone();
    let planned =
        SessionStateBuilder::new_from_existing(existing).with_type_planner(Arc::new(PgOidTypePlanner)).build();
    *state.write() = planned;
    Ok(())
}

/// What clients call besides, and what it is here: mostly nothing.
fn more_functions() -> Vec<Arc<ScalarUDF>> {
    let text = |text: Option<&str>| ScalarValue::Utf8(text.map(str::to_owned));
    let version = format!("PostgreSQL {VERSION}");
    let constants = [
        ("version", text(Some(&version))),
        ("obj_description", text(None)),
        ("col_description", text(None)),
        ("shobj_description", text(None)),
        ("pg_get_viewdef", text(None)),
        ("pg_get_indexdef", text(None)),
        ("pg_get_functiondef", text(None)),
        ("pg_get_serial_sequence", text(None)),
        ("pg_tablespace_location", text(None)),
        ("pg_size_pretty", text(None)),
        ("pg_table_size", ScalarValue::Int64(None)),
        ("json_build_object", text(None)),
        ("to_regtype", ScalarValue::Int32(None)),
        ("to_regclass", ScalarValue::Int32(None)),
        ("to_regnamespace", ScalarValue::Int32(None)),
        ("pg_is_in_recovery", ScalarValue::Boolean(Some(false))),
        ("pg_function_is_visible", ScalarValue::Boolean(Some(true))),
        ("pg_collation_is_visible", ScalarValue::Boolean(Some(true))),
        ("pg_type_is_visible", ScalarValue::Boolean(Some(true))),
    ];
    let constants =
        constants.into_iter().map(|(name, value)| Fixture { name, gives: Gives::Always(value), ..Fixture::new() });
    let settings = [("current_setting", Gives::Setting), ("set_config", Gives::Value)];
    let settings = settings.into_iter().map(|(name, gives)| Fixture { name, gives, ..Fixture::new() });
    constants.chain(settings).map(|fixture| Arc::new(ScalarUDF::from(fixture))).collect()
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum Gives {
    Always(ScalarValue),
    /// The setting of this name.
    Setting,
    /// What it should be set to: it is not.
    Value,
}

/// A function that takes anything.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Fixture {
    name: &'static str,
    gives: Gives,
    signature: Signature,
}

impl Fixture {
    fn new() -> Self {
        let takes = TypeSignature::OneOf(vec![TypeSignature::Nullary, TypeSignature::VariadicAny]);
        Self { name: "", gives: Gives::Value, signature: Signature::new(takes, Volatility::Stable) }
    }
}

impl ScalarUDFImpl for Fixture {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match &self.gives {
            Gives::Always(value) => value.data_type(),
            Gives::Setting | Gives::Value => DataType::Utf8,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let argument = |number: usize| match args.args.get(number) {
            Some(ColumnarValue::Scalar(value)) => value.try_as_str().flatten().map(str::to_owned),
            _ => None,
        };
        let value = match &self.gives {
            Gives::Always(value) => value.clone(),
            Gives::Setting => {
                let setting = argument(0).and_then(|name| default_setting(&name.to_ascii_lowercase()));
                ScalarValue::Utf8(setting.map(str::to_owned))
            }
            Gives::Value => ScalarValue::Utf8(argument(1)),
        };
        Ok(ColumnarValue::Scalar(value))
    }
}
