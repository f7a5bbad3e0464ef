//! DuckDB over a snapshot: Parquet files, the tombstones that hide rows of them, and hot rows, shown as one view a table.
//!
//! A database lives in memory, may open the files of its snapshot and nothing else, and takes one `SELECT` at a time, over
//! the views: DuckDB's own lock would let `COPY` write over a file that may be read, and anybody read the hidden rows in it.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use arrow::record_batch::RecordBatch;
use duckdb::arrow::record_batch::RecordBatch as DuckBatch;
use duckdb::{Config, Connection, params};
use parquet::arrow::ArrowWriter;

use super::views::{DUCKDB, DUCKDB_TABLES, View};
use crate::catalog::{Catalog, ColdTable, Hidden, Lsn, ReadError, SmallTable, State, TableFiles};
use crate::domain::FlowId;

/// One table of a snapshot.
#[derive(Debug, Clone)]
pub struct DuckTable {
    pub name: String,
    /// Parquet files with the table's columns, by absolute path; columns that a file does not have are null.
    pub files: Vec<PathBuf>,
    /// Rows that are in no file yet. Its schema is the view's.
    pub hot: RecordBatch,
    pub shows: Shows,
}

/// Which of a table's stored rows are there to be seen.
#[derive(Debug, Clone)]
pub enum Shows {
    /// All rows of files that no tombstone hides (columns `flow_id`, `start_*`, `lsn_*`), and all hot rows.
    NotDeleted(Vec<Tombstone>),
    /// Of each `id` the row with the greatest LSN, among files and hot rows, unless it is `deleted`.
    ///
    /// The first `settled` of the files, as a rule the largest run, hold no id twice, and every other row of an id of theirs
    /// is newer. So their rows need not be sorted, only looked up among the others. 0 is always right.
    Newest { settled: usize },
}

/// Hides the rows of a Flow with a start key in `starts` and a smaller LSN.
#[derive(Debug, Clone)]
pub struct Tombstone {
    pub flow_id: FlowId,
    /// Of [`crate::domain::TimeRange::start_key`].
    pub starts: Range<i128>,
    pub lsn: Lsn,
}

#[derive(Debug, Clone)]
pub struct DuckSettings {
    pub threads: usize,
    /// For hot rows, pages and what queries build; beyond it they go to `scratch`.
    pub memory_bytes: u64,
    /// A folder for what does not fit in memory, on `scratch_bytes` at most. Each database has one of its own in it, which
    /// goes with it; what a crash leaves there may be deleted.
    pub scratch: PathBuf,
    pub scratch_bytes: u64,
}

impl DuckSettings {
    /// As DuckDB takes them when it starts. It loads nothing from elsewhere.
    pub(super) fn config(&self) -> Result<Config, DuckError> {
        let config = [
            ("autoinstall_known_extensions", "false".into()),
            ("autoload_known_extensions", "false".into()),
            ("allow_community_extensions", "false".into()),
            ("allow_persistent_secrets", "false".into()),
            ("threads", self.threads.max(1).to_string()),
            ("memory_limit", format!("{}B", self.memory_bytes)),
            ("max_temp_directory_size", format!("{}B", self.scratch_bytes)),
        ];
        config.iter().try_fold(Config::default(), |all, (key, value)| all.with(key, value)).map_err(duck)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum DuckError {
    /// The query is wrong, too large, or a file of the snapshot cannot be read: DuckDB's words.
    #[error("{0}")]
    Duck(String),
    #[error("only one SELECT statement is taken")]
    NotOneSelect,
    #[error("the table function {0} is not to be used here")]
    TableFunction(String),
    #[error("{0} is no table: files are not to be read here")]
    File(String),
    /// Not DuckDB's fault, nor the query's.
    #[error("{0}")]
    Inside(String),
    #[error("parameter {name}: {reason}")]
    Parameter { name: String, reason: String },
    #[error("{} cannot be named in a query: {reason}", path.display())]
    Path { path: PathBuf, reason: &'static str },
    #[error("hot rows of {table}: {reason}")]
    Hot { table: String, reason: String },
    #[error("{}: {source}", path.display())]
    Scratch { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// The tables of a snapshot, whose files are on a local disk: those of `object_references` follow from the others and are
/// left out.
pub async fn duck_tables(catalog: &Catalog, state: &State) -> Result<Vec<DuckTable>, DuckError> {
    let mut tables = Vec::new();
    for table in [ColdTable::FlowSegments, ColdTable::Objects] {
        let TableFiles { files, settled, hot } = catalog.table_files(state, table)?;
        let absolute = |path: String| {
            std::path::absolute(&path).map_err(|source| DuckError::Scratch { path: path.into(), source })
        };
        let files = files.into_iter().map(absolute).collect::<Result<_, _>>()?;
        let shows = match table {
            ColdTable::Objects => Shows::Newest { settled },
            ColdTable::FlowSegments | ColdTable::References => {
                let hidden = catalog.hidden(state).await?.into_iter();
                Shows::NotDeleted(
                    hidden.map(|Hidden { flow_id, starts, lsn }| Tombstone { flow_id, starts, lsn }).collect(),
                )
            }
        };
        tables.push(DuckTable { name: table.name().to_owned(), files, hot, shows });
    }
    for table in SmallTable::ALL {
        let (name, hot) = (table.name().to_owned(), state.small_table(table)?);
        tables.push(DuckTable { name, files: Vec::new(), hot, shows: Shows::NotDeleted(Vec::new()) });
    }
    Ok(tables)
}

pub(super) fn duck(error: duckdb::Error) -> DuckError {
    DuckError::Duck(error.to_string())
}

/// A DuckDB database that shows one snapshot.
pub struct Duck {
    // Before the folder, which it may have files in.
    connection: Mutex<Connection>,
    _scratch: Scratch,
}

impl Duck {
    /// Hot rows and tombstones are copied into it; files are read when a query needs them, and have to stay that long.
    /// Tables are in the schema `raw`, and in `main` under the same names the views of them, or they themselves.
    pub fn open(settings: &DuckSettings, tables: &[DuckTable], views: &[View]) -> Result<Self, DuckError> {
        let files = tables.iter().flat_map(|table| &table.files).map(|path| literal(path));
        let files = files.collect::<Result<Vec<_>, _>>()?.join(", ");
        let scratch = Scratch::create(&settings.scratch)?;
        let connection = Connection::open_in_memory_with_flags(settings.config()?).map_err(duck)?;
        let run = |sql: &str| connection.execute_batch(sql).map_err(duck);
        run(&format!("SET temp_directory = {}", literal(&scratch.0)?))?;
        run("SET parquet_metadata_cache = true")?;
        if !cfg!(feature = "duckdb-bundled") {
            run("SET TimeZone = 'UTC'")?; // a setting of DuckDB's time zones, which a build from source comes without
        }
        run("CREATE SCHEMA parts; CREATE SCHEMA raw")?;
        for table in tables {
            load_hot(&connection, table, &scratch.0.join("hot.parquet"))?;
            if let Shows::NotDeleted(tombstones) = &table.shows {
                load_tombstones(&connection, table, tombstones)?;
            }
        }
        // From here on the files of the snapshot are all that it can open.
        run(&format!("SET allowed_paths = [{files}]"))?;
        run("SET enable_external_access = false")?;
        run("SET lock_configuration = true")?;
        for table in tables {
            run(&view(table)?)?;
        }
        if !views.is_empty() {
            run(DUCKDB)?;
        }
        for View { name, sql } in views {
            run(&format!("CREATE VIEW main.{} AS {sql}", quoted(name)))?;
        }
        if !views.is_empty() {
            run(DUCKDB_TABLES)?;
        }
        for table in tables.iter().filter(|table| views.iter().all(|view| view.name != table.name)) {
            run(&format!("CREATE VIEW main.{0} AS FROM raw.{0}", quoted(&table.name)))?;
        }
        Ok(Self { connection: Mutex::new(connection), _scratch: scratch })
    }

    /// A connection of its own to the same database.
    fn connect(&self) -> Result<Connection, DuckError> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner).try_clone().map_err(duck)
    }

    /// The answer to one `SELECT` (or `FROM`, `VALUES`, `DESCRIBE`, `SHOW`) over the views, whole in memory.
    pub fn query(&self, sql: &str) -> Result<Vec<DuckBatch>, DuckError> {
        let connection = self.connect()?;
        Self::check(&connection, sql)?;
        let mut statement = connection.prepare(sql).map_err(duck)?;
        Ok(statement.query_arrow([]).map_err(duck)?.collect())
    }

    /// Before `prepare`, which runs all statements but the last.
    fn check(connection: &Connection, sql: &str) -> Result<(), DuckError> {
        let parsed = connection.query_row(CHECK, [sql], |row| {
            Ok(Parsed {
                error_type: row.get(0)?,
                error_message: row.get(1)?,
                statements: row.get(2)?,
                function: row.get(3)?,
                file: row.get(4)?,
            })
        });
        match parsed.map_err(duck)? {
            Parsed { function: Some(function), .. } => Err(DuckError::TableFunction(function)),
            Parsed { file: Some(file), .. } => Err(DuckError::File(file)),
            Parsed { statements: Some(1), .. } => Ok(()),
            Parsed { error_type: Some(kind), error_message: Some(message), .. } if kind == "parser" => {
                Err(DuckError::Duck(message))
            }
            _ => Err(DuckError::NotOneSelect),
        }
    }
}

/// Asks DuckDB's parser what a query is. It writes `SELECT` statements down as JSON, and no others.
///
/// Table functions other than these would get round the views (`read_parquet` of a file shows hidden rows), round this check
/// (`query`), or change the database for everybody (`enable_logging`). So would a file's name in place of a table's.
const CHECK: &str = "
    SELECT j ->> 'error_type', j ->> 'error_message', json_array_length(j, '$.statements'),
        list_filter(json_extract_string(j, '$..function.function_name'), lambda f: lower(f) NOT IN
            ('gaps', 'range', 'generate_series', 'unnest', 'pragma_table_info', 'duckdb_tables', 'duckdb_columns'))[1],
        list_filter(json_extract_string(j, '$..table_name'), lambda name: contains(name, '/'))[1]
    FROM (SELECT CAST(json_serialize_sql(CAST(? AS VARCHAR)) AS JSON) AS j)";

/// The answer to it.
struct Parsed {
    error_type: Option<String>,
    error_message: Option<String>,
    statements: Option<u64>,
    /// The first table function that is not to be used.
    function: Option<String>,
    /// The first table that is a file.
    file: Option<String>,
}

/// As a table in memory, by way of a small Parquet file: the crate's Arrow is another version than ours.
fn load_hot(connection: &Connection, table: &DuckTable, path: &Path) -> Result<(), DuckError> {
    let wrong = |reason: String| DuckError::Hot { table: table.name.clone(), reason };
    let failed = |source| DuckError::Scratch { path: path.to_owned(), source };
    let file = File::create(path).map_err(failed)?;
    let mut writer = ArrowWriter::try_new(file, table.hot.schema(), None).map_err(|error| wrong(error.to_string()))?;
    writer.write(&table.hot).map_err(|error| wrong(error.to_string()))?;
    writer.close().map_err(|error| wrong(error.to_string()))?;
    let sql = format!("CREATE TABLE {} AS FROM read_parquet({})", part("hot", table), literal(path)?);
    connection.execute_batch(&sql).map_err(duck)?;
    std::fs::remove_file(path).map_err(failed)
}

fn load_tombstones(connection: &Connection, table: &DuckTable, tombstones: &[Tombstone]) -> Result<(), DuckError> {
    let columns = "flow_id VARCHAR, start_from HUGEINT, start_to HUGEINT, lsn HUGEINT";
    connection.execute_batch(&format!("CREATE TABLE {} ({columns})", part("dead", table))).map_err(duck)?;
    let mut rows = connection.appender_to_db(&format!("dead_{}", table.name), "parts").map_err(duck)?;
    for Tombstone { flow_id, starts, lsn } in tombstones {
        let lsn = i128::from(lsn.seq) * LSN_STRIDE + i128::from(lsn.index);
        rows.append_row(params![flow_id.to_string(), starts.start, starts.end, lsn]).map_err(duck)?;
    }
    rows.flush().map_err(duck)
}

/// An LSN as one number: `seq` times this, and `index`.
const LSN_STRIDE: i128 = 1 << 32;

fn view(table: &DuckTable) -> Result<String, DuckError> {
    let visible = match &table.shows {
        Shows::NotDeleted(tombstones) => not_deleted(table, tombstones.is_empty())?,
        Shows::Newest { settled } => format!("FROM ({}) WHERE deleted IS DISTINCT FROM true", newest(table, *settled)?),
    };
    let columns: Vec<_> = table.hot.schema_ref().fields().iter().map(|field| quoted(field.name())).collect();
    Ok(format!("CREATE VIEW raw.{} AS SELECT {} FROM ({visible})", quoted(&table.name), columns.join(", ")))
}

/// A Flow without a tombstone, as nearly all are, costs no more than looking it up: keys are made for rows of the others.
fn not_deleted(table: &DuckTable, all: bool) -> Result<String, DuckError> {
    let hot = format!("FROM {}", part("hot", table));
    let Some(stored) = stored(&table.files)? else { return Ok(hot) };
    if all {
        return Ok(format!("{stored} UNION ALL BY NAME {hot}"));
    }
    let dead = part("dead", table);
    let start =
        "r.start_seconds::HUGEINT * 2000000000 + r.start_nanoseconds::HUGEINT * 2 + (NOT r.start_inclusive)::INT";
    let lsn = format!("r.lsn_seq::HUGEINT * {LSN_STRIDE} + r.lsn_index");
    Ok(format!(
        "SELECT r.* FROM ({stored}) r ANTI JOIN {dead} USING (flow_id) \
         UNION ALL BY NAME \
         SELECT r.* FROM (SELECT r.* FROM ({stored}) r SEMI JOIN {dead} USING (flow_id)) r ANTI JOIN {dead} t \
         ON r.flow_id = t.flow_id AND {start} >= t.start_from AND {start} < t.start_to AND {lsn} < t.lsn \
         UNION ALL BY NAME {hot}"
    ))
}

/// The newest row of each id, deleted or not: settled rows of ids that are nowhere else, and the newest among the others.
fn newest(table: &DuckTable, settled: usize) -> Result<String, DuckError> {
    let (settled, others) = table.files.split_at_checked(settled).unwrap_or((&[], &table.files));
    let hot = format!("FROM {}", part("hot", table));
    let (settled, others) = match (stored(settled)?, stored(others)?) {
        (Some(settled), None) if table.hot.num_rows() == 0 => return Ok(format!("{settled} UNION ALL BY NAME {hot}")),
        (settled, None) => (settled, hot),
        (settled, Some(others)) => (settled, format!("{others} UNION ALL BY NAME {hot}")),
    };
    let newest = format!(
        "FROM ({others}) QUALIFY row_number() OVER (PARTITION BY id ORDER BY lsn_seq DESC, lsn_index DESC) = 1"
    );
    Ok(match settled {
        None => newest,
        Some(settled) => format!(
            "SELECT r.* FROM ({settled}) r ANTI JOIN (SELECT id FROM ({others})) USING (id) UNION ALL BY NAME ({newest})"
        ),
    })
}

/// All rows of these files; `None` where there are none, which `read_parquet` would not take.
fn stored(files: &[PathBuf]) -> Result<Option<String>, DuckError> {
    if files.is_empty() {
        return Ok(None);
    }
    let files = files.iter().map(|path| literal(path)).collect::<Result<Vec<_>, _>>()?.join(", ");
    Ok(Some(format!("FROM read_parquet([{files}], union_by_name = true, hive_partitioning = false)")))
}

fn part(kind: &str, table: &DuckTable) -> String {
    format!("parts.{}", quoted(&format!("{kind}_{}", table.name)))
}

pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A path as a string of SQL.
pub(super) fn literal(path: &Path) -> Result<String, DuckError> {
    let wrong = |reason| DuckError::Path { path: path.to_owned(), reason };
    let text = path.to_str().ok_or_else(|| wrong("it is no UTF-8 text"))?;
    if !path.is_absolute() {
        return Err(wrong("it is not absolute"));
    }
    if text.contains(['*', '?', '[']) {
        return Err(wrong("DuckDB would take it for a pattern"));
    }
    Ok(format!("'{}'", text.replace('\'', "''")))
}

/// A folder that goes with its owner.
pub(super) struct Scratch(pub PathBuf);

impl Scratch {
    pub fn create(parent: &Path) -> Result<Self, DuckError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("duckdb-{}-{number}", std::process::id()));
        match std::fs::create_dir_all(&path) {
            Ok(()) => Ok(Self(path)),
            Err(source) => Err(DuckError::Scratch { path, source }),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(folder = %self.0.display(), %error, "a folder of DuckDB's stays behind");
        }
    }
}

mod answer;
mod databases;

pub use databases::Databases;

#[cfg(test)]
mod tests;
