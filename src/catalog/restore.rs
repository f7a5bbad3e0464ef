//! A new catalogue from a backup, or from a data folder: the state at an LSN, under a uuid of its own.
//!
//! LSNs go on where they were, so that rows keep theirs. The log begins at the next block of floor marks: what is below
//! is gone, as after a truncation.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::backup::{Backup, MediaCopier, MediaCopy};
use super::checkpoint::{self, CheckpointError};
use super::log::{Log, RESOLVE_PAUSE};
use super::paths;
use super::progress::Progress;
use super::recovery::{self, RecoveryError};
use super::state::State;
use super::store::{Create, Store, StoreError};
use super::stored::StoredObjects;
use super::{MaintenanceError, OpenError, existing_log, new_identity};
use crate::clock::Clock;
use crate::domain::{EventPlace, Webhook, hex};

#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Rows(#[from] MaintenanceError),
    #[error("{location} has a catalogue other than the one that its backup.json speaks of: choose another --from")]
    OtherCatalogue { location: String },
    #[error("LSN {lsn} is not among those that can be had from there, {first} to {last}: choose another --lsn")]
    OutOfReach { lsn: u64, first: u64, last: u64 },
    #[error("{location} is missing, and LSN {lsn} cannot be had without it: choose another --lsn or another backup")]
    Missing { location: String, lsn: u64 },
    #[error("{location} is damaged: it does not match its checksum. Choose another backup, or another --lsn")]
    Damaged { location: String },
    #[error("media: {0}")]
    Media(String),
}

#[derive(Debug, Clone, Serialize)]
pub struct Restored {
    /// Hex: of the new catalogue.
    pub catalogue: String,
    /// Hex: of the one that it was made from.
    pub from: String,
    /// The state that was restored is the one after this log entry of that.
    pub lsn: u64,
    /// The next log entry.
    pub next_lsn: u64,
    pub table_files: u64,
    pub table_bytes: u64,
    pub media: u64,
    pub media_bytes: u64,
    /// Registered Objects without their bytes.
    pub media_missing: u64,
}

/// Makes a catalogue on an empty store from the one on `from`, of which `backup` tells how far it reaches. `catalog.json`
/// comes last: until then no server starts on it.
pub async fn restore(
    from: Arc<dyn Store>,
    backup: Option<&Backup>,
    to: Arc<dyn Store>,
    clock: Clock,
    lsn: Option<u64>,
    media: Option<&dyn MediaCopier>,
    progress: &dyn Progress,
) -> Result<Restored, RestoreError> {
    let source = existing_log(from, clock.clone()).await?;
    let state = state_of(&source, backup, lsn).await?;
    let (catalogue, identity) = new_identity(&clock, &to.location(paths::CATALOG))?;
    let log = Log { store: to.clone(), catalogue, writer: clock.random_bytes(), clock, resolve_pause: RESOLVE_PAUSE };
    let block = paths::floor_block(state.seq);
    let mut restored = Restored {
        catalogue: hex(&catalogue),
        from: hex(&source.catalogue),
        lsn: state.seq,
        next_lsn: paths::last_of_block(block) + 1,
        table_files: 0,
        table_bytes: 0,
        media: 0,
        media_bytes: 0,
        media_missing: 0,
    };
    checkpoint::write(&log, &moved(state.clone(), restored.next_lsn - 1)).await?;
    for block in 0..=block {
        to.write(&paths::floor_mark(block), Bytes::from_static(b"entries of this block are of another catalogue\n"))
            .await?;
    }
    progress.begin("table files", state.files.iter().map(|file| file.meta.bytes).sum());
    for file in state.files.iter() {
        let path = &file.meta.path;
        let location = || source.store.location(path);
        let missing = || RestoreError::Missing { location: location(), lsn: state.seq };
        let bytes = source.store.read(path).await?.ok_or_else(missing)?;
        if Sha256::digest(&bytes)[..] != file.meta.sha256 {
            return Err(RestoreError::Damaged { location: location() });
        }
        progress.advance(bytes.len() as u64);
        restored.table_files += 1;
        restored.table_bytes += bytes.len() as u64;
        to.write(path, bytes).await?;
    }
    if let Some(media) = media {
        copy_media(&log, &state, media, &mut restored, progress).await?;
    }
    match to.create(paths::CATALOG, identity).await {
        Create::Created => Ok(restored),
        Create::Exists => {
            let location = to.location(paths::CATALOG);
            Err(StoreError { location, reason: "it is there already".into(), full: false }.into())
        }
        Create::Unclear(error) | Create::Failed(error) => Err(error.into()),
    }
}

async fn state_of(source: &Log, backup: Option<&Backup>, lsn: Option<u64>) -> Result<State, RestoreError> {
    if backup.is_some_and(|backup| backup.catalogue != hex(&source.catalogue)) {
        return Err(RestoreError::OtherCatalogue { location: source.store.location(paths::CATALOG) });
    }
    let first = match backup {
        Some(backup) => backup.first_lsn,
        // The log has everything from its beginning on.
        None if !source.is_below_floor(1).await? => 0,
        None => checkpoint::oldest(source).await?.unwrap_or(0),
    };
    let last = match backup {
        Some(backup) => backup.lsn,
        None => recovery::recover_beside(source).await?.state.seq,
    };
    let lsn = lsn.unwrap_or(last);
    if lsn < first || lsn > last {
        return Err(RestoreError::OutOfReach { lsn, first, last });
    }
    let state = recovery::state_at(source, lsn).await?;
    state.ok_or_else(|| RestoreError::Missing { location: source.store.location(paths::LOG), lsn })
}

/// The same state at a later place of the log, without what points to files and entries that are not taken along.
fn moved(mut state: State, seq: u64) -> State {
    state.seq = seq;
    state.retired.clear();
    let webhooks: Vec<_> = state.webhooks.values().cloned().collect();
    for mut webhook in webhooks {
        // What happened before it was another catalogue's to tell.
        let delivered = EventPlace { seq, index: u32::MAX };
        webhook.row = Arc::new(Webhook { delivered, ..Webhook::clone(&webhook.row) });
        state.webhooks.insert(webhook.row.id, webhook);
    }
    state
}

async fn copy_media(
    log: &Log,
    state: &State,
    media: &dyn MediaCopier,
    restored: &mut Restored,
    progress: &dyn Progress,
) -> Result<(), RestoreError> {
    progress.begin("media", 0);
    let mut objects = StoredObjects::open(log, state).await?;
    while let Some(object) = objects.next().await? {
        for (_, key) in object.controlled() {
            progress.advance(1);
            match media.copy(key, true).map_err(RestoreError::Media)? {
                MediaCopy::Copied(bytes) | MediaCopy::Kept(bytes) => {
                    restored.media += 1;
                    restored.media_bytes += bytes;
                }
                MediaCopy::Missing => restored.media_missing += u64::from(object.is_registered()),
            }
        }
    }
    Ok(())
}
