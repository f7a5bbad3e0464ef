//! PostgreSQL's system tables and functions, for sessions that ask for them. What is the same in all of them is made once.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::DataType;
use datafusion::catalog::TableFunctionImpl;
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::oid_type_planner::PgOidTypePlanner;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::{
    PgCatalogSchemaProvider, PgCatalogStaticTables, setup_pg_catalog,
};

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

/// Tables and functions that no session changes.
struct Fixed {
    tables: Arc<PgCatalogStaticTables>,
    functions: Vec<Arc<ScalarUDF>>,
    table_functions: Vec<(String, Arc<dyn TableFunctionImpl>)>,
}

impl Fixed {
    /// Taken from a session that has them, and has nothing else.
    fn make() -> Result<Self> {
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
        Ok(Self { tables: Arc::new(PgCatalogStaticTables::try_new()?), functions, table_functions })
    }
}

pub fn register(context: &SessionContext) -> Result<()> {
    static FIXED: LazyLock<Result<Fixed, String>> =
        LazyLock::new(|| Fixed::make().map_err(|error| error.strip_backtrace()));
    let fixed = FIXED.as_ref().map_err(|error| DataFusionError::Internal(error.clone()))?;
    let catalogs = context.state().catalog_list().clone();
    let schema = PgCatalogSchemaProvider::try_new(catalogs, fixed.tables.clone(), EmptyContextProvider)?;
    let all = context.catalog(CATALOG).ok_or_else(|| DataFusionError::Internal("a session has no catalogue".into()))?;
    all.register_schema("pg_catalog", Arc::new(schema))?;
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
        ("pg_is_in_recovery", ScalarValue::Boolean(Some(false))),
        ("pg_function_is_visible", ScalarValue::Boolean(Some(true))),
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
