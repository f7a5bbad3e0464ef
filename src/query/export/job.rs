//! What is known of an export: to whoever asks for it, and in `job.json` to go on from.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::ExportError;
use super::request::ExportRequest;
use super::target::Target;
use super::{JOB, MANIFEST};
use crate::domain::{UtcTime, hex};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    Queued,
    Running,
    Done,
    Failed,
    Cancelled,
}

impl JobState {
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Rows that are written, of unfinished files too.
    pub rows: u64,
    /// Files that are finished, and their bytes.
    pub files: u64,
    pub bytes: u64,
    /// Stored rows of the table, where it is one: a little more than will be written, where some are deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimated_rows: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    pub id: String,
    pub state: JobState,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    pub request: ExportRequest,
    pub caller: String,
    pub catalogue: String,
    /// The state that is exported: its log entry, and when that was committed.
    pub lsn: u64,
    pub committed: UtcTime,
    pub progress: Progress,
    pub created: UtcTime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<UtcTime>,
    pub updated: UtcTime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<UtcTime>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
}

/// A finished file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// From the export's folder on.
    pub name: String,
    pub rows: u64,
    pub bytes: u64,
    /// Hex.
    pub sha256: String,
}

/// `job.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    #[serde(flatten)]
    pub job: Job,
    pub columns: Vec<Column>,
    pub files: Vec<File>,
    /// Whether the files hold all rows.
    pub all_rows: bool,
}

impl Record {
    pub fn new(job: Job) -> Self {
        Self { job, columns: Vec::new(), files: Vec::new(), all_rows: false }
    }

    /// `None` where there is none.
    pub fn read(target: &dyn Target) -> Result<Option<Self>, ExportError> {
        let Some(bytes) = target.read(JOB)? else { return Ok(None) };
        let unreadable =
            |error: serde_json::Error| ExportError::Unreadable { file: target.place(JOB), reason: error.to_string() };
        serde_json::from_slice(&bytes).map(Some).map_err(unreadable)
    }

    pub fn save(&self, target: &dyn Target) -> Result<(), ExportError> {
        put_json(target, JOB, self)
    }

    /// Of the finished files.
    pub fn count(&mut self) {
        self.job.progress.rows = self.files.iter().map(|file| file.rows).sum();
        self.job.progress.bytes = self.files.iter().map(|file| file.bytes).sum();
        self.job.progress.files = self.files.len() as u64;
    }
}

fn put_json(target: &dyn Target, name: &str, value: &impl Serialize) -> Result<(), ExportError> {
    let mut text = serde_json::to_vec_pretty(value).map_err(|error| ExportError::Encode(error.to_string()))?;
    text.push(b'\n');
    target.put(name, &text)
}

/// `manifest.json`: what a finished export is. Exports of the same state with the same request have the same files in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub format_version: u32,
    pub export: String,
    pub catalogue: String,
    pub lsn: u64,
    pub committed: UtcTime,
    pub request: ExportRequest,
    pub columns: Vec<Column>,
    pub rows: u64,
    pub bytes: u64,
    pub files: Vec<File>,
    /// Of the text that `sha256sum` writes of the files, in this order.
    pub files_sha256: String,
}

impl Manifest {
    pub fn of(record: &Record) -> Self {
        let Record { job, columns, files, .. } = record;
        Self {
            format_version: 1,
            export: job.id.clone(),
            catalogue: job.catalogue.clone(),
            lsn: job.lsn,
            committed: job.committed,
            request: job.request.clone(),
            columns: columns.clone(),
            rows: files.iter().map(|file| file.rows).sum(),
            bytes: files.iter().map(|file| file.bytes).sum(),
            files: files.clone(),
            files_sha256: Self::checksum(files),
        }
    }

    pub fn checksum(files: &[File]) -> String {
        let mut hash = Sha256::new();
        for file in files {
            hash.update(format!("{}  {}\n", file.sha256, file.name));
        }
        hex(&hash.finalize())
    }

    pub fn save(&self, target: &dyn Target) -> Result<(), ExportError> {
        put_json(target, MANIFEST, self)
    }
}
