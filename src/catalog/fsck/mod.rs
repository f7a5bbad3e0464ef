//! Looks whether a catalogue is what it should be, in levels, and names everything that is not. Changes nothing, and can
//! look at a catalogue that a server is writing to.
//!
//! 1 names and gaps; 2 checksums and the chain of the log, checkpoints; 3 cold files; 4 what must hold between rows;
//! 5 the bytes of media. Each level does those before it.

mod files;
mod media;
mod names;
mod rows;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::StreamExt;
use serde::Serialize;

use super::change::Change;
use super::checkpoint;
use super::cold::ColdFile;
use super::entry::{self, Hash};
use super::log::Log;
use super::progress::Progress;
use super::recovery::{self, RecoveryError};
use super::store::{Store, StoreError};
use super::{OpenError, existing_log, paths};
use crate::clock::Clock;
use crate::domain::{UtcTime, hex};
use names::Names;

/// The highest level.
pub const LEVELS: u8 = 5;
const LEVEL_OF_MEDIA: u8 = 5;
/// Findings that are written down; of the others there is a number.
const MOST_FINDINGS: usize = 10_000;
const READ_AHEAD: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// To be seen to.
    Problem,
    /// To be known: it harms nothing.
    Note,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    pub level: u8,
    pub severity: Severity,
    pub file: String,
    pub what: String,
    pub remedy: String,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Hex; `None` where nothing says it.
    pub catalogue: Option<String>,
    /// The last log entry of the state that was looked at.
    pub lsn: u64,
    pub level: u8,
    pub log_entries: u64,
    pub checkpoints: u64,
    pub table_files: u64,
    pub segments: u64,
    pub objects: u64,
    pub problems: u64,
    pub findings: Vec<Finding>,
    /// Findings beyond those.
    pub more: u64,
    #[serde(skip)]
    newest_checkpoint: Option<u64>,
    /// The last log entry that was there when the files were listed.
    #[serde(skip)]
    listed: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum FsckError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("there is no catalogue in {location}: neither catalog.json nor a log")]
    NoCatalogue { location: String },
    #[error("the media cannot be listed: {0}")]
    Media(String),
}

/// The bytes of media, as far as they are kept beside the catalogue.
pub trait MediaFiles: Send + Sync {
    /// Key and time of the last change of each, in no order.
    fn for_each(&self, each: &mut dyn FnMut(&str, UtcTime)) -> Result<(), String>;
    /// Where the bytes are, or would be.
    fn location(&self, key: &str) -> String;
}

/// What is looked at.
pub struct Scope<'a> {
    pub level: u8,
    /// Where media is looked at whatever the level says.
    pub media: Option<&'a dyn MediaFiles>,
    pub always_media: bool,
}

/// Looks at everything once, and again where a server was at work meanwhile and something seemed wrong: only what is so
/// both times is.
pub async fn fsck(
    store: Arc<dyn Store>,
    clock: Clock,
    scope: &Scope<'_>,
    progress: &dyn Progress,
) -> Result<Report, FsckError> {
    let mut report = look(store.clone(), clock.clone(), scope, progress).await?;
    for _ in 0..3 {
        let after_the_list = report.lsn != report.listed;
        let moved = after_the_list || store.read(&paths::log_entry(report.lsn + 1)).await?.is_some() || {
            let files = store.list(paths::CHECKPOINTS).await?;
            let finished = files.iter().filter_map(|path| paths::parse_checkpoint_file(path)).filter(|found| found.1);
            let finished: Vec<u64> = finished.map(|(seq, _)| seq).collect();
            // Files of one that went meanwhile may have gone with it.
            finished.iter().max() != report.newest_checkpoint.as_ref() || finished.len() as u64 != report.checkpoints
        };
        if report.problems == 0 || !moved {
            break;
        }
        let before: BTreeSet<(u8, String)> =
            report.findings.iter().map(|finding| (finding.level, finding.file.clone())).collect();
        report = look(store.clone(), clock.clone(), scope, progress).await?;
        // Where there are more than are listed, what was there before cannot be told.
        if report.more > 0 {
            continue;
        }
        report.findings.retain(|finding| {
            finding.severity == Severity::Note || before.contains(&(finding.level, finding.file.clone()))
        });
        let problems = report.findings.iter().filter(|finding| finding.severity == Severity::Problem);
        report.problems = problems.count() as u64;
    }
    Ok(report)
}

async fn look(
    store: Arc<dyn Store>,
    clock: Clock,
    scope: &Scope<'_>,
    progress: &dyn Progress,
) -> Result<Report, FsckError> {
    let names = Names::read(&*store).await?;
    let mut findings = Findings { store: store.clone(), report: Report { level: scope.level, ..Report::default() } };
    let log = match existing_log(store.clone(), clock.clone()).await {
        Ok(log) => log,
        Err(OpenError::Store(error)) => return Err(error.into()),
        Err(error) => {
            let Some(catalogue) = catalogue_of_entries(&*store, &names).await? else {
                return Err(FsckError::NoCatalogue { location: store.location("") });
            };
            let what = if matches!(error, OpenError::IdentityMissing { .. }) {
                "it is missing".into()
            } else {
                error.to_string()
            };
            findings.problem(1, paths::CATALOG, what, "Restore this file from a backup: it is never changed");
            Log { store: store.clone(), catalogue, writer: [0; 16], clock, resolve_pause: super::log::RESOLVE_PAUSE }
        }
    };
    findings.report.catalogue = Some(hex(&log.catalogue));
    findings.report.newest_checkpoint = names.finished.last().copied();
    findings.report.listed = names.last();
    names.check(&mut findings);
    if scope.level < 2 {
        findings.report.lsn = names.last();
        if scope.always_media {
            media::check_current(&log, scope, &mut findings, progress).await?;
        }
        return Ok(findings.report);
    }
    let mut known = Known::default();
    check_log(&log, &names, &mut known, &mut findings, progress).await?;
    check_checkpoints(&log, &names, &mut known, &mut findings, progress).await;
    let state = match recovery::recover_beside(&log).await {
        Ok(recovered) => Some(recovered.state),
        Err(RecoveryError::Log(super::log::LogError::Store(error))) => return Err(error.into()),
        Err(error) => {
            let remedy = "Its remedy is that of what is named before, if anything is. Rows were not looked at";
            findings.problem(2, "", format!("a server would not start: {error}"), remedy);
            None
        }
    };
    findings.report.lsn = state.as_ref().map_or(names.last(), |state| state.seq);
    if scope.level >= 3 {
        files::check(&log, &names, &known, state.as_ref(), &mut findings, progress).await?;
    }
    let Some(state) = state else { return Ok(findings.report) };
    if scope.level >= 4 {
        rows::check(&log, &state, &mut findings, progress).await;
    }
    if let Some(media) = scope.media.filter(|_| scope.always_media || scope.level >= LEVEL_OF_MEDIA) {
        media::check(&log, &state, media, &mut findings, progress).await?;
    }
    Ok(findings.report)
}

/// Where `catalog.json` does not say it.
async fn catalogue_of_entries(store: &dyn Store, names: &Names) -> Result<Option<[u8; 16]>, StoreError> {
    for seq in &names.entries {
        if let Some(bytes) = store.read(&paths::log_entry(*seq)).await?
            && let Ok(entry) = entry::decode(&bytes)
        {
            return Ok(Some(entry.header.catalogue));
        }
    }
    Ok(None)
}

struct Findings {
    store: Arc<dyn Store>,
    report: Report,
}

impl Findings {
    fn problem(&mut self, level: u8, path: &str, what: impl Into<String>, remedy: &str) {
        self.report.problems += 1;
        let file = self.store.location(path);
        self.add(Finding { level, severity: Severity::Problem, file, what: what.into(), remedy: remedy.into() });
    }

    fn note(&mut self, level: u8, path: &str, what: impl Into<String>, remedy: &str) {
        let file = self.store.location(path);
        self.add(Finding { level, severity: Severity::Note, file, what: what.into(), remedy: remedy.into() });
    }

    fn add(&mut self, finding: Finding) {
        if self.report.findings.len() < MOST_FINDINGS {
            self.report.findings.push(finding);
        } else {
            self.report.more += 1;
        }
    }
}

const RESTORE_FILE: &str = "Restore this file from a backup or a copy of the folder";
const RESTORE_CATALOGUE: &str = "Restore the catalogue from a backup, to the last LSN before it, and keep this folder: it \
                                 shows an error of tamslake, which please report";

/// What log and checkpoints say of cold files.
#[derive(Default)]
struct Known {
    files: BTreeMap<String, Arc<ColdFile>>,
    /// Hashes of the log entries at which there is a checkpoint.
    hashes: BTreeMap<u64, Hash>,
    /// Files that a checkpoint refers to.
    of_checkpoints: BTreeSet<String>,
}

async fn check_log(
    log: &Log,
    names: &Names,
    known: &mut Known,
    findings: &mut Findings,
    progress: &dyn Progress,
) -> Result<(), FsckError> {
    progress.begin("log", names.entries.len() as u64);
    let read = |seq: u64| async move { (seq, log.read(seq).await) };
    let mut entries = futures::stream::iter(names.entries.iter().copied()).map(read).buffered(READ_AHEAD);
    let mut before: Option<(u64, Hash)> = Some((0, [0; 32]));
    while let Some((seq, entry)) = entries.next().await {
        progress.advance(1);
        let path = paths::log_entry(seq);
        let entry = match entry {
            Ok(Some(entry)) => entry,
            Ok(None) => {
                findings.problem(2, &path, "it was there and is not any more", RESTORE_FILE);
                before = None;
                continue;
            }
            Err(error) => {
                findings.problem(2, &path, error.to_string(), RESTORE_FILE);
                before = None;
                continue;
            }
        };
        findings.report.log_entries += 1;
        if before.is_some_and(|(last, hash)| last + 1 == seq && hash != entry.header.previous) {
            findings.problem(2, &path, format!("it does not follow log entry {}", seq - 1), RESTORE_FILE);
        }
        before = Some((seq, entry.hash));
        if names.finished.contains(&seq) {
            known.hashes.insert(seq, entry.hash);
        }
        for change in entry.changes {
            if let Change::PutFile(file) = change {
                known.files.insert(file.meta.path.clone(), file);
            }
        }
    }
    Ok(())
}

async fn check_checkpoints(
    log: &Log,
    names: &Names,
    known: &mut Known,
    findings: &mut Findings,
    progress: &dyn Progress,
) {
    const REMEDY: &str = "Restore this file from a backup, or move its folder away if there is an older checkpoint from \
                          which the log is whole";
    progress.begin("checkpoints", names.finished.len() as u64);
    for seq in &names.finished {
        progress.advance(1);
        findings.report.checkpoints += 1;
        let (parts, wrong) = checkpoint::check(log, *seq).await;
        let is_whole = wrong.is_empty();
        for (path, error) in wrong {
            findings.problem(2, &path, error.to_string(), REMEDY);
        }
        let parts: BTreeSet<&str> = parts.iter().map(String::as_str).collect();
        for path in names.checkpoint_files.iter().filter(|(of, _)| of == seq).map(|(_, path)| path) {
            if is_whole && !parts.contains(path.as_str()) {
                findings.note(2, path, "no manifest lists it", "It can be deleted");
            }
        }
        if !is_whole {
            continue;
        }
        let manifest = paths::checkpoint_manifest(*seq);
        match checkpoint::read(log, *seq).await {
            Ok(state) => {
                if known.hashes.get(seq).is_some_and(|hash| *hash != state.hash) {
                    let what = format!("it is not of the log entry {seq} that is there");
                    findings.problem(2, &manifest, what, REMEDY);
                }
                for file in state.files.iter() {
                    known.of_checkpoints.insert(file.meta.path.clone());
                    known.files.insert(file.meta.path.clone(), file.clone());
                }
            }
            Err(error) => findings.problem(2, &manifest, error.to_string(), REMEDY),
        }
    }
}

/// What level 4 finds.
#[cfg(test)]
pub(super) async fn problems_between_rows(log: &Log, state: &super::State) -> Vec<String> {
    let mut findings = Findings { store: log.store.clone(), report: Report::default() };
    rows::check(log, state, &mut findings, &super::progress::Silent).await;
    findings.report.findings.into_iter().map(|finding| finding.what).collect()
}
