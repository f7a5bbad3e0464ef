//! Attempts to break the catalogue: faults of the store, races, damage, and histories that a plain list also tells.

pub mod analytics;
mod checkpoints;
pub mod crash_store;
mod deletions;
mod disk;
mod events;
mod faults;
mod fsck;
pub mod golden;
mod grow;
pub mod helpers;
mod history;
pub mod hooks;
mod model;
pub mod older_version;
mod protocol;
mod publishing;
mod recovery;
mod rows;
mod simulation;
mod stale_writer;
mod states;
pub mod watched_objects;
