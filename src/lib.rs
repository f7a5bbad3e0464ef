//! tamslake: a time-addressable media store whose catalogue is a lakehouse. The map of its modules; see ARCHITECTURE.md.

pub mod api;
pub mod app;
pub mod catalog;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod events;
pub mod media;
pub mod operations;
pub mod query;
pub mod telemetry;
