//! SQL over a snapshot of the catalogue: the only module that names datafusion or duckdb. May use the catalogue and the
//! domain; knows nothing of HTTP.
//!
//! Every way in asks [`Sql`]: it pins a state, keeps the limits, and hands out Arrow batches of either engine.

mod as_of;
mod backends;
mod cancel;
pub mod canned;
mod datafusion;
mod depth;
mod duckdb;
mod error;
pub mod export;
pub mod flight;
pub mod output;
mod params;
mod places;
pub mod postgres;
mod sql;
mod views;

pub use self::duckdb::{Duck, DuckError, DuckSettings, DuckTable, Shows, Tombstone, duck_tables};
pub use as_of::parse as parse_as_of;
pub use backends::Backend;
pub use error::QueryError;
pub use params::{Param, Params};
pub use sql::{Answer, AnswerBatches, Backends, Description, Engine, Question, Sql, SqlSettings};
pub use views::duckdb_setup;

#[cfg(test)]
mod front_tests;
#[cfg(test)]
mod tests;
