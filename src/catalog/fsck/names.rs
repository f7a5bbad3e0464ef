//! Level 1: which files are there, and which should be.

use std::collections::BTreeSet;

use super::{Findings, RESTORE_FILE};
use crate::catalog::paths;
use crate::catalog::store::{Store, StoreError};

#[derive(Default)]
pub struct Names {
    /// In order.
    pub entries: Vec<u64>,
    pub floors: BTreeSet<u64>,
    /// Checkpoints with a manifest.
    pub finished: BTreeSet<u64>,
    pub unfinished: BTreeSet<u64>,
    pub checkpoint_files: Vec<(u64, String)>,
    pub tables: Vec<String>,
    unknown: Vec<String>,
}

impl Names {
    pub async fn read(store: &dyn Store) -> Result<Self, StoreError> {
        let mut names = Self::default();
        for path in store.list("").await? {
            if let Some(seq) = paths::parse_log_entry(&path) {
                names.entries.push(seq);
            } else if let Some(block) = paths::parse_floor_mark(&path) {
                names.floors.insert(block);
            } else if let Some((seq, is_manifest)) = paths::parse_checkpoint_file(&path) {
                if is_manifest {
                    names.finished.insert(seq);
                }
                names.unfinished.insert(seq);
                names.checkpoint_files.push((seq, path));
            } else if paths::parse_table_file(&path).is_some() {
                names.tables.push(path);
            } else if !is_known(&path) {
                names.unknown.push(path);
            }
        }
        names.unfinished.retain(|seq| !names.finished.contains(seq));
        Ok(names)
    }

    /// The last entry that anything speaks of.
    pub fn last(&self) -> u64 {
        self.entries.last().copied().max(self.finished.last().copied()).unwrap_or(0)
    }

    pub fn check(&self, findings: &mut Findings) {
        for path in &self.unknown {
            findings.note(1, path, "no file of a catalogue has such a name", "tamslake leaves it alone; so can you");
        }
        for seq in &self.unfinished {
            let what = "its manifest is missing: a crash cut the checkpoint short, or the manifest was deleted";
            let remedy = "Nothing is lost as long as nothing else is named here: the log has it all. The next checkpoint \
                          removes it";
            findings.note(1, &paths::checkpoint_manifest(*seq), what, remedy);
        }
        let newest = self.finished.last().copied().unwrap_or(0);
        for block in &self.floors {
            if paths::last_of_block(*block) > newest {
                let what = format!(
                    "log entries up to {} may be gone ({}), but no checkpoint reaches that far",
                    paths::last_of_block(*block),
                    paths::floor_mark(*block)
                );
                findings.problem(1, paths::CHECKPOINTS, what, "Restore the newest checkpoint's folder from a backup");
            }
        }
        for (from, to) in self.gaps(newest) {
            for block in paths::floor_block(from)..=paths::floor_block(to) {
                let last = paths::last_of_block(block);
                let first = block.checked_sub(1).map_or(1, |before| paths::last_of_block(before) + 1);
                self.check_gap(from.max(first), to.min(last), (first, last), newest, findings);
            }
        }
    }

    /// Entries that are not there, although something speaks of a later one.
    fn gaps(&self, newest: u64) -> Vec<(u64, u64)> {
        let mut gaps = Vec::new();
        let mut expected = 1;
        for seq in self.entries.iter().copied().chain([newest + 1]) {
            if seq > expected {
                gaps.push((expected, seq - 1));
            }
            expected = expected.max(seq + 1);
        }
        gaps
    }

    /// A gap, as far as it lies in one block.
    fn check_gap(&self, from: u64, to: u64, block: (u64, u64), newest: u64, findings: &mut Findings) {
        let nothing_before = self.entries.first().is_none_or(|first| *first > to);
        let is_covered = nothing_before && to <= newest;
        let number = paths::floor_block(from);
        if is_covered && self.floors.contains(&number) {
            return;
        }
        if is_covered && (from, to) == block {
            let what = format!("it is missing, or log entries {from} to {to} are");
            let remedy = "Make this file, or those, again, empty, if you know that these entries were truncated: without it a writer that stalled could fill a \
                          place of the log that nobody reads any more";
            findings.problem(1, &paths::floor_mark(number), what, remedy);
            return;
        }
        let what = if from == to { "it is missing".to_owned() } else { format!("it and all up to {to} are missing") };
        findings.problem(1, &paths::log_entry(from), what, RESTORE_FILE);
    }
}

/// Files beside log, checkpoints and cold rows.
fn is_known(path: &str) -> bool {
    let of_tables = path.starts_with(paths::TABLES);
    let of_delta = of_tables && (paths::is_of_delta_log(path) || paths::is_published_only(path) || path.contains("/_"));
    path == paths::CATALOG || path == "lock" || path.starts_with("tmp/") || path.starts_with("selftest/") || of_delta
}
