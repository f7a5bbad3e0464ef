//! Level 5: rows without bytes, and bytes without rows.

use std::collections::HashMap;

use super::{Finding, Findings, FsckError, MediaFiles, Scope, Severity};
use crate::catalog::MaintenanceError;
use crate::catalog::cold::ColdTable;
use crate::catalog::log::Log;
use crate::catalog::progress::Progress;
use crate::catalog::recovery;
use crate::catalog::state::State;
use crate::catalog::stored::StoredObjects;
use crate::domain::MediaObject;

/// Keys that are known at a time, about.
const SHARE: u64 = 2_000_000;

/// Of the state as it is now, whatever else was or was not looked at.
pub async fn check_current(
    log: &Log,
    scope: &Scope<'_>,
    findings: &mut Findings,
    progress: &dyn Progress,
) -> Result<(), FsckError> {
    let Some(media) = scope.media else { return Ok(()) };
    match recovery::recover_beside(log).await {
        Ok(recovered) => check(log, &recovered.state, media, findings, progress).await,
        Err(error) => {
            let what = format!("a server would not start: {error}");
            findings.problem(5, "", what, "Look at level 4 to have everything named that is wrong");
            Ok(())
        }
    }
}

pub async fn check(
    log: &Log,
    state: &State,
    media: &dyn MediaFiles,
    findings: &mut Findings,
    progress: &dyn Progress,
) -> Result<(), FsckError> {
    let rows: u64 = state.files_of(ColdTable::Objects).map(|file| file.meta.rows).sum();
    let shares = (rows + state.objects.len() as u64).div_ceil(SHARE).max(1);
    progress.begin("media", 0);
    for share in 0..shares {
        if let Err(error) = check_share(log, state, media, (share, shares), findings, progress).await? {
            let what = format!("Objects could not all be looked at: {error}");
            findings.problem(5, "tables/objects", what, "See to the files that are named first, then look again");
            break;
        }
    }
    Ok(())
}

/// Keys are hashes in hexadecimal digits.
fn number(key: &str) -> u128 {
    u128::from_str_radix(key, 16).unwrap_or_default()
}

async fn check_share(
    log: &Log,
    state: &State,
    media: &dyn MediaFiles,
    (share, shares): (u64, u64),
    findings: &mut Findings,
    progress: &dyn Progress,
) -> Result<Result<(), MaintenanceError>, FsckError> {
    let is_in = |key: u128| key % u128::from(shares) == u128::from(share);
    // Those that came after the state may be of Objects that it does not know yet.
    let mut found: HashMap<u128, bool> = HashMap::new();
    let mut keep = |key: &str, modified| {
        let number = number(key);
        if is_in(number) {
            found.insert(number, modified <= state.committed);
        }
    };
    media.for_each(&mut keep).map_err(FsckError::Media)?;
    let looked_at = async {
        let mut objects = StoredObjects::open(log, state).await?;
        while let Some(object) = objects.next().await? {
            progress.advance(1);
            for key in object.kept_keys() {
                let there = found.remove(&number(key)).is_some();
                if is_in(number(key)) && !there && needs_bytes(state, &object, key) {
                    let what = format!("the bytes of Object {} are missing", object.id);
                    let remedy = "Restore this file from a backup, upload the bytes again under another Object, or \
                                  delete the segments that need it";
                    add(findings, media.location(key), what, remedy);
                }
            }
        }
        Ok(())
    };
    if let Err(error) = looked_at.await {
        return Ok(Err(error));
    }
    for (key, _) in found.into_iter().filter(|(_, is_old)| *is_old) {
        let key = format!("{key:032x}");
        let what = "no Object has these bytes";
        add(findings, media.location(&key), what.into(), "Move the file away; nothing refers to it");
    }
    Ok(Ok(()))
}

/// Registered, shown to clients, and not about to go.
fn needs_bytes(state: &State, object: &MediaObject, key: &str) -> bool {
    object.is_registered()
        && !object.condemned
        && !state.is_condemned(&object.id)
        && !state.is_suspect(&object.id)
        && object.controlled().any(|(_, controlled)| controlled == key)
}

fn add(findings: &mut Findings, file: String, what: String, remedy: &str) {
    findings.report.problems += 1;
    findings.add(Finding { level: 5, severity: Severity::Problem, file, what, remedy: remedy.to_owned() });
}
