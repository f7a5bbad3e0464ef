//! tamslake: a time-addressable media store whose catalogue is a lakehouse. The map of its modules; see ARCHITECTURE.md.

pub mod catalog;
pub mod clock;
pub mod domain;
pub mod media;
pub mod operations;
