//! SQL over a snapshot of the catalogue: the only module that names datafusion or duckdb. May use the catalogue and the
//! domain; knows nothing of HTTP.

mod datafusion;
mod duckdb;

pub use self::datafusion::SnapshotSql;
pub use self::duckdb::{Duck, DuckError, DuckSettings, DuckTable, Shows, Tombstone, duck_tables};

#[cfg(test)]
mod tests;
