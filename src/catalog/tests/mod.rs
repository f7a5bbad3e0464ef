//! Attempts to break the catalogue: faults of the store, races, damage, and histories that a plain list also tells.

mod checkpoints;
mod deletions;
mod disk;
mod events;
mod faults;
mod golden;
mod helpers;
mod history;
mod hooks;
mod model;
mod protocol;
mod recovery;
mod rows;
mod stale_writer;
mod states;
