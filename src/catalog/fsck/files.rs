//! Level 3: cold files, each by itself: there, whole, in order, and what the manifest says of it.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::{Findings, FsckError, Known, RESTORE_FILE};
use crate::catalog::change::Lsn;
use crate::catalog::cold::{ColdFile, FileIndex};
use crate::catalog::fsck::names::Names;
use crate::catalog::log::Log;
use crate::catalog::pages::read_page;
use crate::catalog::progress::Progress;
use crate::catalog::state::State;

/// Bytes that are read at a time.
const BLOCK: u64 = 4 << 20;

pub async fn check(
    log: &Log,
    names: &Names,
    known: &Known,
    state: Option<&State>,
    findings: &mut Findings,
    progress: &dyn Progress,
) -> Result<(), FsckError> {
    let there: BTreeSet<&str> = names.tables.iter().map(String::as_str).collect();
    let mut needed: BTreeSet<&str> = known.of_checkpoints.iter().map(String::as_str).collect();
    let oldest = names.finished.first().copied().unwrap_or(0);
    if let Some(state) = state {
        needed.extend(state.files.iter().map(|file| file.meta.path.as_str()));
        // Going back to a state between two checkpoints may need it.
        let between = state.retired.iter().filter(|(_, seq)| **seq > oldest);
        needed.extend(between.map(|(path, _)| path.as_str()));
    }
    let size = |path: &&str| known.files.get(*path).map_or(0, |file| file.meta.bytes);
    progress.begin("table files", needed.iter().map(size).sum());
    for path in &needed {
        let of_state = state.and_then(|state| state.files.iter().find(|file| file.meta.path == **path));
        let Some(file) = of_state.or_else(|| known.files.get(*path)) else {
            if !there.contains(path) {
                findings.problem(3, path, "it is missing", RESTORE_FILE);
            }
            continue;
        };
        findings.report.table_files += 1;
        if let Err(reason) = check_file(log, file, progress).await {
            findings.problem(3, path, reason, RESTORE_FILE);
        }
    }
    for path in there.iter().filter(|path| !needed.contains(*path)) {
        let is_retired = state.is_some_and(|state| state.retired.contains_key(*path));
        let what = if is_retired {
            "it was replaced by another, and nobody can go back to it any more"
        } else if state.is_none() && known.files.contains_key(*path) {
            continue;
        } else {
            "nothing refers to it: it is being written, or whoever wrote it did not come to its end"
        };
        findings.note(3, path, what, "A server deletes it after its next checkpoint");
    }
    Ok(())
}

async fn check_file(log: &Log, file: &ColdFile, progress: &dyn Progress) -> Result<(), String> {
    let meta = &file.meta;
    let mut hash = Sha256::new();
    let mut at = 0;
    while at < meta.bytes {
        let end = meta.bytes.min(at + BLOCK);
        let block = at..end;
        let read = log.store.read_ranges(&meta.path, vec![block]).await.map_err(|error| error.reason)?;
        read.iter().for_each(|bytes| hash.update(bytes));
        progress.advance(end - at);
        at = end;
    }
    let behind = at..at + 1;
    if log.store.read_ranges(&meta.path, vec![behind]).await.is_ok() {
        return Err(format!("it is longer than the {} bytes that its manifest says", meta.bytes));
    }
    if hash.finalize()[..] != meta.sha256 {
        return Err("it does not match its checksum".into());
    }
    let tail = log.store.read_ranges(&meta.path, vec![meta.tail()]).await.map_err(|error| error.reason)?;
    let index = FileIndex::load(meta, &tail.into_iter().next().unwrap_or_default()).map_err(|error| error.reason)?;
    let (mut rows, mut last): (u64, Option<(Vec<u8>, Lsn)>) = (0, None);
    let (mut min, mut max) = (Lsn { seq: u64::MAX, index: u32::MAX }, Lsn::default());
    for number in 0..index.pages() {
        let page = read_page(&*log.store, file, &index, number).await.map_err(|error| error.to_string())?;
        for row in 0..page.len() {
            let (key, lsn) = (page.key(row), page.lsn(row));
            if row == 0 && key != index.first_key(number) {
                return Err(format!("page {number} does not begin with the key that its index says"));
            }
            if last.as_ref().is_some_and(|(before, at)| (before, at) > (&key, &lsn)) {
                return Err(format!("row {rows} is out of order"));
            }
            (min, max) = (min.min(lsn), max.max(lsn));
            last = Some((key, lsn));
            rows += 1;
        }
    }
    if rows != meta.rows {
        return Err(format!("it has {rows} rows, its manifest says {}", meta.rows));
    }
    if last.is_none_or(|(key, _)| key != meta.last_key) || (min, max) != (meta.min_lsn, meta.max_lsn) {
        return Err("its last key or its LSNs are not those that its manifest says".into());
    }
    Ok(())
}
