//! The format `duckdb`: the Parquet files of an export become one database.

use std::path::{Path, PathBuf};

use duckdb::Connection;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::error::ExportError;
use super::job::{File, Record};
use super::request::Plan;
use super::target::Target;
use crate::domain::hex;
use crate::query::cancel::keep_interrupting;
use crate::query::duckdb::{Scratch, duck, literal, quoted};
use crate::query::error::QueryError;
use crate::query::sql::Sql;

pub const NAME: &str = "export.duckdb";

/// Reads the files that the record names into a database. DuckDB reads and writes a little at a time; what does not fit in
/// its memory goes to its scratch space.
pub fn make(
    sql: &Sql,
    plan: &Plan,
    record: &Record,
    target: &dyn Target,
    stop: &CancellationToken,
) -> Result<File, ExportError> {
    let path = |name: &str| {
        let missing =
            || ExportError::wrong("format", "a duckdb file can only be made in a folder: take another format");
        target.paths(name).ok_or_else(missing)
    };
    let (_, database) = path(NAME)?;
    let parts = record.files.iter().map(|file| Ok(path(&file.name)?.0)).collect::<Result<Vec<_>, ExportError>>()?;
    // Of an earlier try.
    target.remove(NAME)?;
    let wal = database.with_extension("unfinished.wal");
    let _ = std::fs::remove_file(&wal);
    let made = fill(sql, &plan.table, &database, &parts, stop);
    if stop.is_cancelled() {
        return Err(ExportError::Stopped);
    }
    made?;
    let (bytes, sha256) = hash(&database).map_err(|error| ExportError::io(&database, error))?;
    target.finish(NAME)?;
    Ok(File { name: NAME.into(), rows: record.files.iter().map(|file| file.rows).sum(), bytes, sha256 })
}

fn fill(
    sql: &Sql,
    table: &str,
    database: &Path,
    parts: &[PathBuf],
    stop: &CancellationToken,
) -> Result<(), QueryError> {
    let settings = sql.settings();
    let scratch = Scratch::create(&settings.scratch)?;
    let connection = Connection::open_with_flags(database, settings.duckdb().config()?).map_err(duck)?;
    let interrupt = connection.interrupt_handle();
    let stop = stop.clone();
    let _watch = AbortOnDropHandle::new(sql.handle().spawn(async move {
        stop.cancelled().await;
        keep_interrupting(interrupt).await;
    }));
    let parts = parts.iter().map(|path| literal(path)).collect::<Result<Vec<_>, _>>()?.join(", ");
    let made = format!(
        "SET temp_directory = {};
         CREATE TABLE {} AS FROM read_parquet([{parts}], hive_partitioning = false);
         CHECKPOINT",
        literal(&scratch.0)?,
        quoted(table),
    );
    connection.execute_batch(&made).map_err(duck)?;
    connection.close().map_err(|(_, error)| duck(error))?;
    Ok(())
}

/// Bytes of a file, and their SHA-256 in hexadecimal digits.
pub fn hash(path: &Path) -> std::io::Result<(u64, String)> {
    let mut hash = Sha256::new();
    let mut file = std::fs::File::open(path)?;
    let mut block = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        let read = std::io::Read::read(&mut file, &mut block)?;
        if read == 0 {
            return Ok((bytes, hex(&hash.finalize())));
        }
        hash.update(block.get(..read).unwrap_or_default());
        bytes += read as u64;
    }
}
