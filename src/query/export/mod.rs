//! Exports: the rows of a table or of a question as files, of one state, however many they are.
//!
//! A job asks its question once and writes what comes, a file after the other, so that memory does not grow with the rows. Its
//! state is pinned when it is made. What is written is told in `job.json` beside the files; after a crash the same question
//! is asked of the same state, and the rows of the files that are there are left out. Where files go is a [`Target`].

mod database;
mod error;
mod exports;
mod job;
mod part;
mod request;
mod rows;
mod run;
mod target;

pub use database::hash;
pub use error::ExportError;
pub use exports::{ExportSettings, Exports};
pub use job::{Column, File, Job, JobState, Manifest, Progress, Record};
pub use request::{Compression, ExportFormat, ExportRequest};
pub use run::{Run, Silent, Watch, begin};
pub use target::{Folder, Target, is_ours};

/// What is known of an export, beside its files; the last one is written when all is done.
pub const JOB: &str = "job.json";
pub const MANIFEST: &str = "manifest.json";

#[cfg(test)]
mod tests;
